// Prints what it was born with, one "key value" line each, and ends with "end": what the tests of launching
// look at.
//
//   describe_process              prints and exits 0
//   describe_process wait         prints and waits for a signal
//   describe_process orphan       prints, starts a child that leaves session and parent behind and waits, and
//   exits 0
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;

namespace {

void print_descriptors() {
  std::vector<int> open;
  DIR* listing = opendir("/proc/self/fd");
  while (dirent const* entry = readdir(listing)) {
    int number = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && number != dirfd(listing)) open.push_back(number);
  }
  closedir(listing);
  std::sort(open.begin(), open.end());
  std::printf("descriptors");
  for (int number : open) std::printf(" %d", number);
  std::printf("\n");
  for (int number : open) {
    struct stat status{};
    fstat(number, &status);
    std::printf("inode.%d %lu\n", number, static_cast<unsigned long>(status.st_ino));
  }
}

// Signals, identity and capabilities as the kernel sees them: "SigBlk 0000000000000000".
void print_status() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::size_t colon = line.find(':');
    std::replace(line.begin(), line.end(), '\t', ' ');
    std::printf("%s%s\n", line.substr(0, colon).c_str(), line.substr(colon + 1).c_str());
  }
}

void print_rest(int count, char** arguments) {
  char directory[PATH_MAX] = "";
  std::printf("directory %s\n", getcwd(directory, sizeof directory));
  std::printf("pid %d\nsession %d\n", getpid(), getsid(0));
  std::printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  std::printf("files %lu %lu\n", files.rlim_cur, files.rlim_max);
  std::string adjust;
  std::getline(std::ifstream("/proc/self/oom_score_adj"), adjust);
  std::printf("oom %s\n", adjust.c_str());
  std::ifstream cgroups("/proc/self/cgroup");
  for (std::string line; std::getline(cgroups, line);) {
    if (line.starts_with("0::")) std::printf("cgroup %s\n", line.substr(3).c_str());
  }
  for (int i = 0; i < count; ++i) std::printf("argument %s\n", arguments[i]);
  std::size_t variables = 0;
  for (char** variable = environ; *variable != nullptr; ++variable, ++variables) {
    std::string text = *variable;
    std::size_t equals = text.find('=');
    if (equals != std::string::npos && text.size() < 200) {
      std::printf("env.%s %s\n", text.substr(0, equals).c_str(), text.substr(equals + 1).c_str());
    }
  }
  std::printf("variables %zu\n", variables);
}

void leave_an_orphan() {
  if (fork() != 0) return;
  setsid();
  if (fork() != 0) _exit(0);
  std::printf("orphan %d\nend\n", getpid());
  std::fflush(stdout);
  pause();
}

}  // namespace

int main(int count, char** arguments) {
  std::string_view todo = count > 1 ? arguments[1] : "";
  print_descriptors();
  print_status();
  print_rest(count, arguments);
  if (todo != "orphan") std::printf("end\n");
  std::fflush(stdout);
  if (todo == "orphan") leave_an_orphan();
  if (todo == "wait") pause();
}
