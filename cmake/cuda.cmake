# The CUDA extension `_cuda`. SPARSEAGENT_CUDA is AUTO (built where a CUDA compiler works, else left out),
# ON (an error where none does) or OFF. CUDA's runtime is linked statically: the module loads where there
# is no driver.
set(SPARSEAGENT_CUDA AUTO CACHE STRING "Build the CUDA extension: AUTO, ON or OFF")
set_property(CACHE SPARSEAGENT_CUDA PROPERTY STRINGS AUTO ON OFF)

# Machine code for one architecture of each family runs on the later ones of it; others, such as sm_120,
# compile the PTX when they first load it. Before enable_language, which would set one of its own.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90;100-real")
endif()

set(SPARSEAGENT_CUDA_FOUND OFF)
if(NOT SPARSEAGENT_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    # A compiler that is there and fails (a host compiler that it does not know, an architecture that it
    # has no more) shall not break an installation.
    # Found out beside this build, as a language that was enabled must work.
    set(SPARSEAGENT_PROBE ${CMAKE_CURRENT_BINARY_DIR}/cuda_works)
    execute_process(
      COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_SOURCE_DIR}/cmake/cuda_works -B ${SPARSEAGENT_PROBE}
              -G ${CMAKE_GENERATOR} -DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}
              -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_CUDA_COMPILER=${CMAKE_CUDA_COMPILER}
              "-DCMAKE_CUDA_ARCHITECTURES=${CMAKE_CUDA_ARCHITECTURES}"
      RESULT_VARIABLE SPARSEAGENT_CUDA_FAILS
      OUTPUT_VARIABLE SPARSEAGENT_CUDA_LOG
      ERROR_VARIABLE SPARSEAGENT_CUDA_LOG)
    if(NOT SPARSEAGENT_CUDA_FAILS)
      execute_process(
        COMMAND ${CMAKE_COMMAND} --build ${SPARSEAGENT_PROBE}
        RESULT_VARIABLE SPARSEAGENT_CUDA_FAILS
        OUTPUT_VARIABLE SPARSEAGENT_CUDA_LOG
        ERROR_VARIABLE SPARSEAGENT_CUDA_LOG)
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER AND NOT SPARSEAGENT_CUDA_FAILS)
    set(SPARSEAGENT_CUDA_FOUND ON)
  elseif(SPARSEAGENT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SPARSEAGENT_CUDA is ON, but no CUDA compiler of version 12.8 or newer works: put nvcc "
                        "on PATH or set CUDACXX.\n${SPARSEAGENT_CUDA_LOG}")
  else()
    set(SPARSEAGENT_NVCC $ENV{CUDACXX})
    if(NOT SPARSEAGENT_NVCC)
      find_program(SPARSEAGENT_NVCC nvcc PATHS ENV PATH NO_DEFAULT_PATH)
    endif()
    if(SPARSEAGENT_NVCC)
      message(WARNING "${SPARSEAGENT_NVCC} does not work here, the CUDA extension is left out. "
                      "${SPARSEAGENT_CUDA_LOG}")
    endif()
  endif()
endif()
message(STATUS "CUDA extension: ${SPARSEAGENT_CUDA_FOUND}")

if(SPARSEAGENT_CUDA_FOUND)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 17)

  # All that nvcc sees. The last four flags are the contract: they reach into the intrinsics of rounding,
  # and stand behind what the environment adds.
  add_library(sparseagent_cuda_kernels OBJECT csrc/cuda/kernels.cu)
  target_include_directories(sparseagent_cuda_kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/csrc)
  target_compile_options(
    sparseagent_cuda_kernels PRIVATE -O3 -diag-suppress=1675 -compress-mode=size -Xcompiler=-ffp-contract=off,-fvisibility=hidden -ftz=false
                                     -prec-div=true -prec-sqrt=true -fmad=false)

  pybind11_add_module(_cuda MODULE NO_EXTRAS csrc/bind_cuda.cpp csrc/bind_lock.cpp csrc/cuda/image.cpp
                      csrc/cuda/choose.cpp csrc/cuda/plan.cpp)
  target_sources(_cuda PRIVATE $<TARGET_OBJECTS:sparseagent_cuda_kernels>)
  target_link_libraries(_cuda PRIVATE sparseagent_core)
  set_target_properties(_cuda PROPERTIES LINKER_LANGUAGE CUDA CUDA_RUNTIME_LIBRARY Static)
  # Unlike _core with the machine's C++ library: whoever has arrays on a GPU has that, and it would take a
  # third of the module.
  target_link_options(_cuda PRIVATE -Wl,--exclude-libs,ALL -Wl,--gc-sections)
  install(TARGETS _cuda DESTINATION sparseagent)
endif()
