/* Assertions of the agent core guard its own invariants and stay on. The integrator says what a broken one does: restart
 * the device (what runs is chosen anew at the start), after keeping file and line where somebody can read them. */
#ifndef AVIARY_PORTS_ASSERT_H
#define AVIARY_PORTS_ASSERT_H

void aviary_assert_failed(const char *file, int line) __attribute__((noreturn));

#define assert(condition) ((condition) ? (void)0 : aviary_assert_failed(__FILE__, __LINE__))

#endif
