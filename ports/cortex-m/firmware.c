/* The demo device as firmware for a Cortex-M4 under an emulator (mps2-an386): it talks through semihosting. What a board needs in its
 * place is its own start-up code and say(). */
#include <stdint.h>
#include <string.h>

#include "../demo/demo.h"

extern uint32_t stack_top[], data_from[], data_begin[], data_end[], bss_begin[], bss_end[];
void reset(void);
static void stop(void);

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
	(uintptr_t)stack_top, (uintptr_t)reset, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop,
};

enum { SYS_WRITE0 = 4, SYS_EXIT = 0x18 };
static const uintptr_t exit_good = 0x20026, exit_bad = 0x20024; /* ADP_Stopped_ApplicationExit, ADP_Stopped_InternalError */

static uintptr_t semihost(uintptr_t what, uintptr_t argument)
{
	register uintptr_t r0 __asm__("r0") = what;
	register uintptr_t r1 __asm__("r1") = argument;
	__asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
	return r0;
}

static void say(const char *line)
{
	semihost(SYS_WRITE0, (uintptr_t)line);
	semihost(SYS_WRITE0, (uintptr_t) "\n");
}

static void stop(void)
{
	say("stopped by a fault");
	semihost(SYS_EXIT, exit_bad);
	for (;;)
		;
}

void aviary_assert_failed(const char *file, int line)
{
	(void)line;
	say(file);
	stop();
	for (;;)
		;
}

void reset(void)
{
	memcpy(data_begin, data_from, (size_t)((char *)data_end - (char *)data_begin));
	memset(bss_begin, 0, (size_t)((char *)bss_end - (char *)bss_begin));
	if (!demo_run(say))
		stop();
	say("demo: done");
	semihost(SYS_EXIT, exit_good);
	for (;;)
		;
}
