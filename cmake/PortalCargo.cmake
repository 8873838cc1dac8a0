# Lets cargo build the two libraries and lays them out under their final names.
#
# Cargo itself knows what is out of date, so it is asked at every build; files that did not change
# keep their time, and nothing that links them is linked again.

find_program(PORTAL_CARGO cargo
  REQUIRED HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin" DOC "Rust's package manager")
cmake_path(GET PORTAL_CARGO PARENT_PATH portal_rust_dir)
find_program(PORTAL_RUSTC rustc REQUIRED HINTS "${portal_rust_dir}" DOC "Rust's compiler")
set(PORTAL_CARGO_TARGET_DIR "${PROJECT_BINARY_DIR}/cargo" CACHE PATH "Where cargo keeps what it compiles")

set(portal_library_dir "${PROJECT_BINARY_DIR}/lib")
set(portal_include_dir "${PROJECT_SOURCE_DIR}/include")
set(portal_shared_file "libportal-ws.so.${PROJECT_VERSION}")
set(portal_shared_soname "libportal-ws.so.${PROJECT_VERSION_MAJOR}")
set(portal_shared_links "${portal_shared_soname}" "libportal.so")
set(portal_static_file "libportal.a")

# Only the two libraries for C are asked for: a Rust library beside them would keep cargo from
# optimising across crates.
set(portal_cargo_command
  "${CMAKE_COMMAND}" -E env --unset=CARGO_BUILD_TARGET "CARGO_TARGET_DIR=${PORTAL_CARGO_TARGET_DIR}"
  "RUSTC=${PORTAL_RUSTC}" "${PORTAL_CARGO}" rustc --quiet --locked --release --lib --crate-type=cdylib,staticlib)

set(portal_commands
  COMMAND ${portal_cargo_command}
  COMMAND "${CMAKE_COMMAND}" -E make_directory "${portal_library_dir}"
  COMMAND "${CMAKE_COMMAND}" -E copy_if_different
    "${PORTAL_CARGO_TARGET_DIR}/release/libportal.so" "${portal_library_dir}/${portal_shared_file}"
  COMMAND "${CMAKE_COMMAND}" -E copy_if_different
    "${PORTAL_CARGO_TARGET_DIR}/release/libportal.a" "${portal_library_dir}/${portal_static_file}")
set(portal_link_target "${portal_shared_file}")
foreach(link IN LISTS portal_shared_links)
  list(APPEND portal_commands
    COMMAND "${CMAKE_COMMAND}" -E create_symlink "${portal_link_target}" "${portal_library_dir}/${link}")
  set(portal_link_target "${link}")
endforeach()

add_custom_target(portal_libraries ALL
  ${portal_commands}
  BYPRODUCTS "${portal_library_dir}/${portal_shared_file}" "${portal_library_dir}/${portal_static_file}"
  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
  COMMENT "Building libportal ${PROJECT_VERSION}"
  USES_TERMINAL
  VERBATIM)

# What a program needs of the system when it is linked with the static library. Only Rust's compiler
# knows; Portal adds nothing to what an empty library needs, which a test proves.
if(NOT DEFINED PORTAL_NATIVE_LIBRARIES)
  execute_process(
    COMMAND "${PORTAL_RUSTC}" --crate-type=staticlib --print=native-static-libs --crate-name=empty
      -o "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/empty.a" -
    INPUT_FILE /dev/null
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    ERROR_VARIABLE portal_rustc_answer
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "native-static-libs:([^\n]*)" portal_rustc_answer "${portal_rustc_answer}")
  separate_arguments(portal_native_libraries UNIX_COMMAND "${CMAKE_MATCH_1}")
  # C compilers add it by themselves, and know its other name in programs that are static altogether.
  list(REMOVE_ITEM portal_native_libraries "-lgcc_s")
  set(PORTAL_NATIVE_LIBRARIES "${portal_native_libraries}" CACHE STRING "What libportal.a needs of the system")
  file(REMOVE "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/empty.a")
endif()

include(cmake/portalTargets.cmake)
set_target_properties(portal::portal portal::static PROPERTIES IMPORTED_GLOBAL TRUE)
add_dependencies(portal::portal portal_libraries)
add_dependencies(portal::static portal_libraries)
