# The C library: one shared object that exports sparseagent_* and nothing else, with its headers, a
# CMake package and a pkg-config file. All are found from where they lie, so that the folder they are
# installed into may be moved; in a wheel that is the package's own.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

if(DEFINED SKBUILD)
  set(prefix sparseagent/)
  set(libdir lib)
else()
  set(prefix "")
  set(libdir ${CMAKE_INSTALL_LIBDIR})
endif()

if(DEFINED SKBUILD_PROJECT_VERSION)
  set(SPARSEAGENT_VERSION ${SKBUILD_PROJECT_VERSION})
else()
  file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/pyproject.toml line REGEX "^version = ")
  string(REGEX MATCH "[0-9.]+" SPARSEAGENT_VERSION "${line}")
endif()
string(REGEX MATCH "^[0-9]+" major ${SPARSEAGENT_VERSION})

add_library(sparseagent SHARED csrc/capi/capi.cpp)
add_library(sparseagent::sparseagent ALIAS sparseagent)
target_link_libraries(sparseagent PRIVATE sparseagent_core)
target_include_directories(
  sparseagent PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
                     $<INSTALL_INTERFACE:${prefix}include>)
target_compile_definitions(sparseagent PRIVATE SPARSEAGENT_VERSION="${SPARSEAGENT_VERSION}")
set(exports ${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map)
target_link_options(sparseagent PRIVATE -Wl,--version-script=${exports} -Wl,--exclude-libs,ALL
                    -static-libstdc++ -static-libgcc)
set_target_properties(sparseagent PROPERTIES LINK_DEPENDS ${exports})
if(NOT DEFINED SKBUILD) # a wheel holds no links
  set_target_properties(sparseagent PROPERTIES VERSION ${SPARSEAGENT_VERSION} SOVERSION ${major})
endif()

install(TARGETS sparseagent EXPORT sparseagentTargets LIBRARY DESTINATION ${prefix}${libdir}
        COMPONENT capi NAMELINK_COMPONENT capi)
install(FILES include/sparseagent.h include/sparseagent.hpp DESTINATION ${prefix}include COMPONENT capi)
set(cmakedir ${prefix}${libdir}/cmake/sparseagent)
install(EXPORT sparseagentTargets NAMESPACE sparseagent:: FILE sparseagentConfig.cmake
        DESTINATION ${cmakedir} COMPONENT capi)
write_basic_package_version_file(
  ${CMAKE_CURRENT_BINARY_DIR}/sparseagentConfigVersion.cmake VERSION ${SPARSEAGENT_VERSION}
  COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH up /${prefix}${libdir}/pkgconfig /${prefix})
configure_file(cmake/sparseagent.pc.in ${CMAKE_CURRENT_BINARY_DIR}/sparseagent.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sparseagentConfigVersion.cmake DESTINATION ${cmakedir}
        COMPONENT capi)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sparseagent.pc DESTINATION ${prefix}${libdir}/pkgconfig
        COMPONENT capi)
