/* The model that MODEL names, at a multiple of 16 in flash. */
    .section .model, "a"
    .balign 16
    .globl model_start
model_start:
    .incbin MODEL
    .globl model_end
model_end:

#ifdef __linux__
    .section .note.GNU-stack, "", %progbits
#endif
