#include "child.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_US = 2000 };

pid_t child_start(const char *command, const struct child_context *context)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test of a release that nobody waits for any more */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setenv("AVIARY_SLOT", context->slot, 1);
	setenv("AVIARY_SLOT_DIR", context->dir, 1);
	setenv("AVIARY_RELEASE", context->release, 1);
	setenv("AVIARY_TRIAL", context->trial ? "1" : "0", 1);
	setenv("AVIARY_SHADOW", context->shadow ? "1" : "0", 1);
	if (context->check) {
		setenv("AVIARY_CHECK", context->check, 1);
		setenv("AVIARY_CHECK_NAME", context->check_name, 1);
	}
	if (chdir(context->dir) != 0)
		_exit(126);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

int child_poll(pid_t pid, int *status)
{
	int raw;
	pid_t found = waitpid(pid, &raw, WNOHANG);
	if (found == 0)
		return 0;
	if (found < 0)
		return -1;
	*status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
	return 1;
}

void child_kill(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL); /* before it made its group */
	waitpid(pid, NULL, 0);
}

void child_kill_rest(pid_t pid)
{
	kill(-pid, SIGKILL);
}

int child_run(const char *command, const struct child_context *context, int timeout_ms)
{
	pid_t pid = child_start(command, context);
	int status;
	if (pid < 0)
		return -1;
	for (int64_t waited_us = 0; waited_us < (int64_t)timeout_ms * 1000; waited_us += POLL_US) {
		int result = child_poll(pid, &status);
		if (result != 0)
			return result > 0 ? status : -1;
		usleep(POLL_US);
	}
	child_kill(pid);
	return -1;
}
