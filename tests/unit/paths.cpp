#include "paths.hpp"

namespace handoff {

char const* const source_root = SOURCE_ROOT;
char const* const launcher_path = HANDOFF_EXEC_PATH;
char const* const describe_process_path = DESCRIBE_PROCESS_PATH;

}  // namespace handoff
