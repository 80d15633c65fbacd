# Writes build_id.h; run at build time (see CMakeLists.txt).
execute_process(COMMAND git describe --always --dirty --abbrev=12 WORKING_DIRECTORY ${SOURCE}
    OUTPUT_VARIABLE git_id OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT git_id)
    set(git_id "unknown")
endif()
file(WRITE ${OUTPUT}.new "/* Written by the build. */
#define BUILD_VERSION \"${VERSION}\"
#define BUILD_GIT_ID \"${git_id}\"
#define BUILD_COMPILER \"${COMPILER}\"
#define BUILD_TYPE \"${BUILD_TYPE}\"
")
execute_process(COMMAND ${CMAKE_COMMAND} -E copy_if_different ${OUTPUT}.new ${OUTPUT})
