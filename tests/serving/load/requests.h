/* Requests drawn by a seed, and the reference that their answers are compared with. */

#ifndef REQUESTS_H
#define REQUESTS_H

#include "saved_model.h"

enum { POOL = 256, SIZE_COUNT = 4 };
extern const int SIZES[SIZE_COUNT]; /* Numbers of images in a request. */

/* Random images, and each output of the model for each of them. */
typedef struct {
  float* images;
  int64_t image_values; /* H * W * C */
  int64_t image_shape[3];
  char* outputs[MAX_OUTPUTS];
  int64_t row_bytes[MAX_OUTPUTS];
  TF_DataType types[MAX_OUTPUTS];
  int output_count;
} Reference;

typedef struct {
  TF_Tensor* images;
  int first;         /* Index of the first image in the pool; the next ones follow. */
  int size;          /* Index in SIZES. */
  const char* error; /* Text of the refusal if the request is alone; NULL: it is valid. */
} Request;

/* Draw images of the shape H, W, C and run the model on each of them alone. */
Reference reference_make(SavedModel* model, const int64_t* image_shape, uint64_t seed);
void reference_free(Reference* reference);

/* Draw request `number`: its content depends on the seed and the number alone.
   `too_many`: a number of images that is refused, with the text `too_many_error`. */
Request request_make(const Reference* reference, uint64_t seed, long number, double bad_share,
                     int64_t too_many, const char* too_many_error, bool batching);

/* Return true if each output of the answer is the reference: integers exactly, floats to
   `tolerance`. */
bool answer_is_right(const Reference* reference, const Request* request, const Task* task,
                     double tolerance);

#endif
