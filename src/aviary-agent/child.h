/* Commands of the operator (self-test, activation hook, reboot, what runs in shadow): run by /bin/sh in a process group of their own. */
#ifndef AVIARY_AGENT_PROGRAM_CHILD_H
#define AVIARY_AGENT_PROGRAM_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* What a command learns: AVIARY_SLOT, AVIARY_SLOT_DIR, AVIARY_RELEASE, AVIARY_TRIAL=0|1, AVIARY_SHADOW=0|1; it starts in the slot's
 * directory. */
struct child_context {
	const char *slot, *dir, *release;
	bool trial, shadow;
	const char *check, *check_name; /* AVIARY_CHECK and AVIARY_CHECK_NAME; NULL: not set */
};

pid_t child_start(const char *command, const struct child_context *context); /* -1 on failure */
/* 1: ended, *status is its exit status (128 + signal where one ended it); 0: runs; -1: no such child. */
int child_poll(pid_t pid, int *status);
void child_kill(pid_t pid); /* the whole group, and waits for it */
void child_kill_rest(pid_t pid); /* what is left of the group of one that child_poll saw end */
/* Starts and waits, at most timeout_ms; returns the exit status, or -1. */
int child_run(const char *command, const struct child_context *context, int timeout_ms);

#endif
