/* Start-up of a Cortex-M4, and semihosting: the emulator prints and ends. */

#include "board.h"
#include <stdint.h>

extern uint32_t stack_top[], data_start[], data_end[], data_load[], bss_start[], bss_end[];

int main(void);

/* Arm's semihosting: the operation in r0, its argument in r1. */
static int semihosting(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void put(const char *text) {
    static int output;
    uintptr_t len = 0;
    while (text[len]) len++;
    if (output == 0) {
        /* SYS_OPEN of ":tt", three characters, to write (4): the emulator's standard output. */
        const uintptr_t console[3] = {(uintptr_t) ":tt", 4, 3};
        output = semihosting(0x01, console);
    }
    const uintptr_t block[3] = {(uintptr_t)output, (uintptr_t)text, len};
    semihosting(0x05, block); /* SYS_WRITE */
}

_Noreturn void end(bool success) {
    /* SYS_EXIT with ADP_Stopped_ApplicationExit or ADP_Stopped_RunTimeErrorUnknown. */
    for (;;) semihosting(0x18, (const void *)(uintptr_t)(success ? 0x20026 : 0x20023));
}

_Noreturn void reset(void) {
    /* CPACR: access to the FPU, whose registers the compiler may use. */
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb");
    const uint32_t *from = data_load;
    for (volatile uint32_t *to = data_start; to < data_end; to++) *to = *from++;
    for (volatile uint32_t *to = bss_start; to < bss_end; to++) *to = 0;
    main();
    end(false);
}

static void fault(void) {
    put("error fault\n");
    end(false);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};
