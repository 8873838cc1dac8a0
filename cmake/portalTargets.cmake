# Defines portal::portal and portal::static, from a build folder or from an installation alike.
#
# Reads portal_include_dir, portal_library_dir, portal_shared_file, portal_shared_soname,
# portal_static_file and PORTAL_NATIVE_LIBRARIES.

add_library(portal::portal SHARED IMPORTED)
set_target_properties(portal::portal PROPERTIES
  IMPORTED_LOCATION "${portal_library_dir}/${portal_shared_file}"
  IMPORTED_SONAME "${portal_shared_soname}"
  INTERFACE_INCLUDE_DIRECTORIES "${portal_include_dir}")

add_library(portal::static STATIC IMPORTED)
set_target_properties(portal::static PROPERTIES
  IMPORTED_LOCATION "${portal_library_dir}/${portal_static_file}"
  INTERFACE_INCLUDE_DIRECTORIES "${portal_include_dir}"
  INTERFACE_COMPILE_DEFINITIONS PORTAL_STATIC
  INTERFACE_LINK_LIBRARIES "${PORTAL_NATIVE_LIBRARIES}")
