// What holds a pod's namespaces open: it waits for SIGTERM. Given a number, it ends by itself after so
// many seconds, so that it serves tests as a workload, an init container or a job as well.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
  (void)signal;
  _exit(EXIT_SUCCESS);
}

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0)
    ;
}

int main(int count, char **arguments) {
  // As process 1 it gets only signals that it handles.
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, reap);
  if (count > 1) {
    sleep((unsigned)atoi(arguments[1]));
    return EXIT_SUCCESS;
  }
  for (;;)
    pause();
}
