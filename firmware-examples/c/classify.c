/* Classifies the images in a model and tests itself, as the Rust program `classify` does: the lines are the same. */

#include "board.h"
#include "skipstone.h"

#ifndef ARENA_BYTES
#error "ARENA_BYTES is missing: `skipstone inspect` tells how large the model's arena is"
#endif
#define MOST_LAYERS 256
#define MOST_CLASSES 256

/* model.S puts them around the model's bytes. */
extern const uint8_t model_start[], model_end[];

static _Alignas(SKIPSTONE_ALIGNMENT) uint8_t memory[SKIPSTONE_ENGINE_BYTES + ARENA_BYTES];
static uint32_t checksums[MOST_LAYERS];
static int8_t scores[MOST_CLASSES];

static void put_number(int32_t number) {
    char digits[12];
    char *first = digits + sizeof digits - 1;
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    *first = 0;
    do {
        *--first = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) *--first = '-';
    put(first);
}

static void put_hex(uint32_t number) {
    char digits[9] = {0};
    for (int i = 0; i < 8; i++) digits[i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
    put(digits);
}

static void expect(SkipstoneStatus status) {
    if (status == SKIPSTONE_STATUS_OK) return;
    put("error ");
    put(skipstone_status_text(status));
    put("\n");
    end(false);
}

static void classify(SkipstoneEngine *engine, const SkipstoneInfo *info, size_t index) {
    const uint8_t *pixels;
    size_t len, best;
    expect(skipstone_test_vector(engine, index, &pixels, &len));
    expect(skipstone_run_layers(engine, pixels, len, checksums, info->layers));
    expect(skipstone_best(engine, &best));
    expect(skipstone_scores(engine, scores, MOST_CLASSES));
    put("image ");
    put_number((int32_t)index);
    put(" label ");
    put_number((int32_t)best);
    for (size_t class = 0; class < info->classes; class++) {
        put(class ? "," : " scores ");
        put_number(scores[class]);
    }
    for (size_t layer = 0; layer < info->layers; layer++) {
        put(layer ? "," : " layers ");
        put_hex(checksums[layer]);
    }
    put("\n");
}

static bool test(SkipstoneEngine *engine, const SkipstoneInfo *info, size_t index) {
    size_t layer;
    SkipstoneStatus status = skipstone_self_test(engine, index, checksums, info->layers, &layer);
    put("vector ");
    put_number((int32_t)index);
    if (status == SKIPSTONE_STATUS_DIFFERS) {
        put(" FAIL layer ");
        put_number((int32_t)layer);
        put("\n");
        return false;
    }
    expect(status);
    put(" PASS\n");
    return true;
}

int main(void) {
    SkipstoneEngine *engine;
    SkipstoneInfo info;
    bool passed = true;
    expect(skipstone_open(model_start, (size_t)(model_end - model_start), memory, sizeof memory, &engine));
    expect(skipstone_info(engine, &info));
    if (info.layers > MOST_LAYERS || info.classes > MOST_CLASSES) expect(SKIPSTONE_STATUS_ROOM);
    for (size_t index = 0; index < info.test_vectors; index++) classify(engine, &info, index);
    for (size_t index = 0; index < info.test_vectors; index++) passed &= test(engine, &info, index);
    put("done ");
    put_number((int32_t)info.test_vectors);
    put("\n");
    end(passed && info.test_vectors > 0);
}
