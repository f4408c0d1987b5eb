# Instruction sets and kernels. Every file in csrc/kernels/ is one format of a layer, every file in
# csrc/ops/ one other kind of op; each is compiled once per ISA with that ISA's flags, and the registry
# that the plan reads is written here.
#
#   sparseagent_isa(NAME  VEC <csrc/simd header>  NEEDS <CPU features>  FLAGS <compiler flags>  VARIANT <word>)
#
# A variant is the same ISA compiled for machines that have more; it follows the plain one.
# Adding an ISA is one such line below, from plainest to widest (and a vec_*.h if its registers are
# new). Adding a format is one file in csrc/kernels/, adding an op one in csrc/ops/.

file(GLOB SPARSEAGENT_KERNELS CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/csrc/kernels
     ${CMAKE_CURRENT_SOURCE_DIR}/csrc/kernels/*.cpp)
file(GLOB SPARSEAGENT_OPS CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/csrc/ops
     ${CMAKE_CURRENT_SOURCE_DIR}/csrc/ops/*.cpp)
list(SORT SPARSEAGENT_KERNELS)
list(SORT SPARSEAGENT_OPS)

set(SPARSEAGENT_ISA_OBJECTS "")
set(SPARSEAGENT_DECLARATIONS "")
set(SPARSEAGENT_TABLES "")
set(SPARSEAGENT_ISAS "")

# One source compiled for the ISA at hand, exporting one C symbol, which is declared.
macro(sparseagent_isa_object source symbol declaration)
  add_library(${symbol} OBJECT ${CMAKE_CURRENT_SOURCE_DIR}/csrc/${source})
  target_link_libraries(${symbol} PRIVATE sparseagent_options)
  # Where a loop starts within a cache line is worth up to a tenth of the time of one observation: it
  # shall not depend on the functions that stand before it in the file.
  target_compile_options(${symbol} PRIVATE ${ISA_FLAGS} -falign-functions=64)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC bug 105593: its own AVX-512 headers look uninitialised to it.
    target_compile_options(${symbol} PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized)
  endif()
  target_compile_definitions(${symbol} PRIVATE SPARSEAGENT_VEC_HEADER="simd/${ISA_VEC}"
                                               SPARSEAGENT_SYMBOL=${symbol})
  list(APPEND SPARSEAGENT_ISA_OBJECTS $<TARGET_OBJECTS:${symbol}>)
  string(APPEND SPARSEAGENT_DECLARATIONS "extern \"C\" ${declaration};\n")
endmacro()

# The table `<folder>_<id>`, of pointers to what each file of a folder exports, a `type`.
macro(sparseagent_isa_table folder word type)
  set(table "")
  foreach(file ${ARGN})
    get_filename_component(stem ${file} NAME_WE)
    set(symbol sparseagent_${word}_${stem}_${id})
    sparseagent_isa_object(${folder}/${file} ${symbol} "const sparseagent::${type} ${symbol}")
    string(APPEND table "&${symbol}, ")
  endforeach()
  string(APPEND SPARSEAGENT_TABLES "const ${type}* const ${folder}_${id}[] = {${table}};\n")
endmacro()

macro(sparseagent_isa name)
  cmake_parse_arguments(ISA "" "VEC;NEEDS;VARIANT" "FLAGS" ${ARGN})
  set(id ${name}${ISA_VARIANT})
  sparseagent_isa_table(kernels kernel Kernel ${SPARSEAGENT_KERNELS})
  sparseagent_isa_table(ops op OpKernel ${SPARSEAGENT_OPS})
  list(LENGTH SPARSEAGENT_KERNELS kernel_count)
  list(LENGTH SPARSEAGENT_OPS op_count)
  set(transposes sparseagent_transposes_${id})
  sparseagent_isa_object(simd/transpose.cpp ${transposes} "const sparseagent::Transposes ${transposes}")
  set(heads sparseagent_heads_${id})
  sparseagent_isa_object(simd/heads.cpp ${heads} "const sparseagent::HeadKernel ${heads}")
  set(fma_loop sparseagent_fma_loop_${id})
  sparseagent_isa_object(simd/isa.cpp ${fma_loop} "float ${fma_loop}(long)")
  string(APPEND SPARSEAGENT_ISAS
         "    {\"${name}\", \"${ISA_NEEDS}\", kernels_${id}, ${kernel_count}, ops_${id}, ${op_count}, "
         "${fma_loop}, &${transposes}, &${heads}},\n")
endmacro()

sparseagent_isa(scalar VEC vec_scalar.h)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # The plainest x86-64 calls a function for every fused multiply-add.
  sparseagent_isa(scalar VARIANT fma VEC vec_scalar.h NEEDS fma FLAGS -mfma)
  sparseagent_isa(avx2 VEC vec_avx2.h NEEDS "avx2 fma" FLAGS -mavx2 -mfma)
  sparseagent_isa(avx512 VEC vec_avx512.h NEEDS "avx512f avx512bw avx512dq avx512vl fma avx2"
                  FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma
                        -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  sparseagent_isa(neon VEC vec_neon.h NEEDS "asimd")
endif()

configure_file(${CMAKE_CURRENT_SOURCE_DIR}/cmake/registry.cpp.in
               ${CMAKE_CURRENT_BINARY_DIR}/registry.cpp @ONLY)
