// Where the launcher has a libc: under sanitizers, and on processors that freestanding.cpp does not know.
#include <exec/launcher.hpp>

int main() { handoff::launch(); }
