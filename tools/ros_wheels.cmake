# SPDX-License-Identifier: Apache-2.0
# Passed to CMake as CMAKE_PROJECT_INCLUDE. The exported targets of the ROS wheels contain paths of Python and NumPy headers
# on the machine that built them (/opt/python/...), which CMake rejects because they do not exist. After all packages were
# found, these paths are removed from the imported targets; the project finds Python and NumPy of this machine itself.
function(seqpose_drop_wheel_build_paths)
  get_directory_property(targets IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(paths ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(paths)
      list(FILTER paths EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${paths}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} CALL seqpose_drop_wheel_build_paths)
