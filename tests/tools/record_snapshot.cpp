// In the place of a handoffd that becomes its successor: keeps a copy of the snapshot in $RECORD_TO, then
// becomes $RECORD_FOR, the real successor.
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "--try-snapshot") == 0) return 0;
  char const* snapshot = std::getenv("HANDOFF_SNAPSHOT");
  char const* to = std::getenv("RECORD_TO");
  char const* successor = std::getenv("RECORD_FOR");
  if (snapshot == nullptr || to == nullptr || successor == nullptr) return 2;
  int from = std::atoi(snapshot);
  struct stat file;
  int copy = ::open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (copy < 0 || ::fstat(from, &file) != 0) return 1;
  off_t offset = 0;  // so that the successor finds it unread
  while (offset < file.st_size)
    if (::sendfile(copy, from, &offset, static_cast<std::size_t>(file.st_size - offset)) <= 0) return 1;
  ::execv(successor, arguments);
  std::perror(successor);
  return 1;
}
