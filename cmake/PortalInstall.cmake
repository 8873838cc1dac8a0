# Installs the header and its description, libraries, what find_package and pkg-config read, and the
# licences. Everything that is installed finds the rest by its own place, so a prefix may be moved.

include(CMakePackageConfigHelpers)

set(portal_config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/portal")
set(portal_pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

configure_package_config_file(
  cmake/portalConfig.cmake.in "${PROJECT_BINARY_DIR}/portalConfig.cmake"
  INSTALL_DESTINATION "${portal_config_dir}"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
# Before version 1.0 each minor version may change what programs rely on.
set(portal_compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(portal_compatibility SameMinorVersion)
endif()
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/portalConfigVersion.cmake" COMPATIBILITY "${portal_compatibility}")

# Folders given as absolute paths stay what they are; the usual ones follow the prefix.
cmake_path(ABSOLUTE_PATH portal_pkgconfig_dir BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}" OUTPUT_VARIABLE portal_pc_place)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY "${portal_pc_place}" OUTPUT_VARIABLE portal_pc_prefix)
string(PREPEND portal_pc_prefix "\${pcfiledir}/")
foreach(kind IN ITEMS INCLUDE LIB)
  string(TOLOWER "portal_pc_${kind}dir" variable)
  set(${variable} "\${prefix}")
  cmake_path(APPEND ${variable} "${CMAKE_INSTALL_${kind}DIR}")
endforeach()
list(JOIN PORTAL_NATIVE_LIBRARIES " " portal_pc_private)
file(STRINGS Cargo.toml portal_description REGEX "^description = " LIMIT_COUNT 1)
string(REGEX REPLACE "^description = \"(.*)\"$" "\\1" portal_description "${portal_description}")
configure_file(cmake/portal.pc.in "${PROJECT_BINARY_DIR}/portal.pc" @ONLY)

list(TRANSFORM portal_shared_links PREPEND "${portal_library_dir}/" OUTPUT_VARIABLE portal_installed_links)
install(FILES "${portal_include_dir}/portal.h" "${portal_include_dir}/portal.json" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES
  "${portal_library_dir}/${portal_shared_file}" ${portal_installed_links} "${portal_library_dir}/${portal_static_file}"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${PROJECT_BINARY_DIR}/portal.pc" DESTINATION "${portal_pkgconfig_dir}")
install(FILES
  "${PROJECT_BINARY_DIR}/portalConfig.cmake" "${PROJECT_BINARY_DIR}/portalConfigVersion.cmake" cmake/portalTargets.cmake
  DESTINATION "${portal_config_dir}")
install(FILES LICENSE-APACHE LICENSE-MIT docs/third-party.md DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/portal")
