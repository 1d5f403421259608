/* Runs packed int8 image classifiers: the C interface of skipstone-runtime.
 *
 * Made by cbindgen of c/src; `cargo xtask header` does it again. c/README.md says how to link the library.
 *
 * Every function but skipstone_status_text takes pointers and lengths and returns a SkipstoneStatus. Pointers are checked for null and for
 * alignment; under Safety stands what the caller has to see to. Nothing is allocated. Calls with one engine must not
 * overlap.
 */

#ifndef SKIPSTONE_H
#define SKIPSTONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 Where memory has to start for an engine or a picture, and the bytes of a model: at a multiple of this.
 */
#define SKIPSTONE_ALIGNMENT 16

/*
 Bytes of memory that an engine takes besides the model's arena: `skipstone inspect` tells how large that is.
 */
#define SKIPSTONE_ENGINE_BYTES 256

/*
 Bytes of memory at the head of a picture, before what `skipstone_picture_len` adds for its size.
 */
#define SKIPSTONE_PICTURE_BYTES 256

/*
 What a function says of its work. `skipstone_status_text` has it in words.
 */
typedef enum SkipstoneStatus {
  /*
   Done.
   */
  SKIPSTONE_STATUS_OK = 0,
  /*
   A pointer is null.
   */
  SKIPSTONE_STATUS_NULL = 1,
  /*
   A pointer is not aligned for what it points to; memory and models start at a multiple of SKIPSTONE_ALIGNMENT.
   */
  SKIPSTONE_STATUS_MISALIGNED = 2,
  /*
   The memory is too small.
   */
  SKIPSTONE_STATUS_MEMORY = 3,
  /*
   The bytes are no packed model.
   */
  SKIPSTONE_STATUS_NOT_A_MODEL = 4,
  /*
   The model has another format version: pack it again.
   */
  SKIPSTONE_STATUS_VERSION = 5,
  /*
   The model is cut short, or longer than its header says.
   */
  SKIPSTONE_STATUS_LENGTH = 6,
  /*
   The model is damaged: its checksum does not fit.
   */
  SKIPSTONE_STATUS_CHECKSUM = 7,
  /*
   The model is whole, but a record of it cannot be run; `skipstone inspect` names it.
   */
  SKIPSTONE_STATUS_INVALID = 8,
  /*
   The model's weights are laid out for another core: pack it for this one.
   */
  SKIPSTONE_STATUS_KERNEL = 9,
  /*
   The library was built for another model, without an operator that this one needs.
   */
  SKIPSTONE_STATUS_OPERATOR = 10,
  /*
   The input has another length than the model's.
   */
  SKIPSTONE_STATUS_INPUT = 11,
  /*
   The room for results is too small.
   */
  SKIPSTONE_STATUS_ROOM = 12,
  /*
   There is no class or test vector of this number.
   */
  SKIPSTONE_STATUS_INDEX = 13,
  /*
   The self test failed: a layer or the scores are not the host's.
   */
  SKIPSTONE_STATUS_DIFFERS = 14,
  /*
   Pictures of this size cannot become the model's input.
   */
  SKIPSTONE_STATUS_PICTURE = 15,
  /*
   Something else failed.
   */
  SKIPSTONE_STATUS_FAILED = 16,
} SkipstoneStatus;

/*
 A model at work, in memory that the caller gave.
 */
typedef struct SkipstoneEngine SkipstoneEngine;

/*
 Makes the model's input of a picture of another size, row by row, in memory that the caller gave.
 */
typedef struct SkipstonePicture SkipstonePicture;

/*
 What a model takes and gives.
 */
typedef struct SkipstoneInfo {
  /*
   Rows of the image.
   */
  size_t height;
  /*
   Pixels of a row.
   */
  size_t width;
  /*
   Samples of a pixel, side by side.
   */
  size_t channels;
  /*
   Number of scores.
   */
  size_t classes;
  /*
   Number of layers, each of which has a checksum.
   */
  size_t layers;
  /*
   Images in the model with the checksums that the host made.
   */
  size_t test_vectors;
  /*
   Of a score: `scale * (score - zero_point)` is its real value.
   */
  float scale;
  /*
   See `scale`.
   */
  int32_t zero_point;
} SkipstoneInfo;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Tells how many bytes of memory `skipstone_open` needs for the model: SKIPSTONE_ENGINE_BYTES and its arena. Only the
 model's version, length and checksum are checked here.

 Safety:
 `stone` points to `stone_len` bytes, `len` to a `size_t`.
 */
enum SkipstoneStatus skipstone_memory_len(const uint8_t *stone, size_t stone_len, size_t *len);

/*
 Makes an engine for the model in `stone`, in `memory`. Both start at a multiple of SKIPSTONE_ALIGNMENT. The model
 stays where it is, such as in flash, and is read there. There is nothing to close: who uses the memory for
 something else uses the engine no more.

 Safety:
 `stone` points to `stone_len` bytes, and `memory` to `memory_len` bytes; for as long as the engine is used, nobody
 writes the first and nobody else uses the second. `engine` points to a pointer.
 */
enum SkipstoneStatus skipstone_open(const uint8_t *stone,
                                    size_t stone_len,
                                    void *memory,
                                    size_t memory_len,
                                    struct SkipstoneEngine **engine);

/*
 Tells what the model takes and gives.

 Safety:
 `engine` is from `skipstone_open`, `info` points to a `SkipstoneInfo`.
 */
enum SkipstoneStatus skipstone_info(struct SkipstoneEngine *engine, struct SkipstoneInfo *info);

/*
 Classifies an image: `height` rows of `width` pixels of `channels` samples, 0 to 255, as a camera gives them. What
 the network was trained to subtract and to divide by is in the model.

 Safety:
 `engine` is from `skipstone_open`, `pixels` points to `len` bytes.
 */
enum SkipstoneStatus skipstone_run(struct SkipstoneEngine *engine, const uint8_t *pixels, size_t len);

/*
 Takes the next row of an image and runs as far as it goes. `done` is whether it was the last one: then the scores
 are there, and the next row begins an image.

 Safety:
 `engine` is from `skipstone_open`, `row` points to `len` bytes, `done` to a `bool`.
 */
enum SkipstoneStatus skipstone_feed_row(struct SkipstoneEngine *engine, const uint8_t *row, size_t len, bool *done);

/*
 Forgets the rows of an image that was not fed to its end.

 Safety:
 `engine` is from `skipstone_open`.
 */
enum SkipstoneStatus skipstone_restart(struct SkipstoneEngine *engine);

/*
 Copies the scores of the last image, one for each class; `count` is the room for them.

 Safety:
 `engine` is from `skipstone_open`, `scores` points to `count` bytes.
 */
enum SkipstoneStatus skipstone_scores(struct SkipstoneEngine *engine, int8_t *scores, size_t count);

/*
 Tells the class with the highest score; of equal scores the first.

 Safety:
 `engine` is from `skipstone_open`, `index` points to a `size_t`.
 */
enum SkipstoneStatus skipstone_best(struct SkipstoneEngine *engine, size_t *index);

/*
 Tells the name of a class: `len` bytes of UTF-8 in the model, with no zero after them.

 Safety:
 `engine` is from `skipstone_open`, `name` points to a pointer, `len` to a `size_t`.
 */
enum SkipstoneStatus skipstone_class_name(struct SkipstoneEngine *engine, size_t index, const char **name, size_t *len);

/*
 Classifies an image as `skipstone_run` does, and tells for each layer the CRC-32 (as in zip) of its rows: equal to
 the host's where every byte is. `count` is the number of layers.

 Safety:
 `engine` is from `skipstone_open`, `pixels` points to `len` bytes, `checksums` to `count` words.
 */
enum SkipstoneStatus skipstone_run_layers(struct SkipstoneEngine *engine,
                                          const uint8_t *pixels,
                                          size_t len,
                                          uint32_t *checksums,
                                          size_t count);

/*
 Gives the pixels of a test vector, which lie in the model.

 Safety:
 `engine` is from `skipstone_open`, `pixels` points to a pointer, `len` to a `size_t`.
 */
enum SkipstoneStatus skipstone_test_vector(struct SkipstoneEngine *engine,
                                           size_t index,
                                           const uint8_t **pixels,
                                           size_t *len);

/*
 Runs a test vector and compares the rows of every layer, and the scores, with what the host made. Where they
 differ it returns SKIPSTONE_STATUS_DIFFERS, and `layer` is the first layer that does, or the number of layers if
 only the scores do. `workspace` has a word for each layer, `count` of them.

 Safety:
 `engine` is from `skipstone_open`, `workspace` points to `count` words, `layer` to a `size_t`.
 */
enum SkipstoneStatus skipstone_self_test(struct SkipstoneEngine *engine,
                                         size_t index,
                                         uint32_t *workspace,
                                         size_t count,
                                         size_t *layer);

/*
 Tells how many bytes of memory `skipstone_picture_open` needs for pictures of `width` x `height` pixels.

 Safety:
 `engine` is from `skipstone_open`, `len` points to a `size_t`.
 */
enum SkipstoneStatus skipstone_picture_len(struct SkipstoneEngine *engine,
                                           uint16_t width,
                                           uint16_t height,
                                           size_t *len);

/*
 Begins a picture of `width` x `height` pixels, in `memory`, which starts at a multiple of SKIPSTONE_ALIGNMENT. It
 is cut, scaled and turned to the model's channels as the pictures were that the network was trained on. For the
 next picture, open it again.

 Safety:
 `engine` is from `skipstone_open`; `memory` points to `memory_len` bytes that nobody else uses for as long as the
 picture is used; `picture` points to a pointer.
 */
enum SkipstoneStatus skipstone_picture_open(struct SkipstoneEngine *engine,
                                            uint16_t width,
                                            uint16_t height,
                                            void *memory,
                                            size_t memory_len,
                                            struct SkipstonePicture **picture);

/*
 Takes the picture's next row, whose pixels have 1 (grey), 2 (grey, alpha), 3 (red, green, blue) or 4 samples
 (these and alpha), and gives the engine every row of the input that it completes. `done` is whether the image is
 classified.

 Safety:
 `picture` is from `skipstone_picture_open`, `engine` is the one that it was opened with, `row` points to `len`
 bytes, `done` to a `bool`.
 */
enum SkipstoneStatus skipstone_picture_row(struct SkipstonePicture *picture,
                                           struct SkipstoneEngine *engine,
                                           const uint8_t *row,
                                           size_t len,
                                           uint8_t channels,
                                           bool *done);

/*
 What a status means, in English, without a period; of numbers that are none, "unknown status".
 */
const char *skipstone_status_text(int status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SKIPSTONE_H */
