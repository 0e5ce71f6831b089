#include "requests.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const int SIZES[SIZE_COUNT] = {1, 3, 8, 128};

/* SplitMix64. */
static uint64_t draw(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static double draw_fraction(uint64_t* state) { return (double)(draw(state) >> 11) / (1ull << 53); }

static TF_Tensor* new_tensor(TF_DataType type, const int64_t* shape, int rank) {
  size_t bytes = TF_DataTypeSize(type);
  for (int d = 0; d < rank; d++) bytes *= shape[d];
  TF_Tensor* tensor = TF_AllocateTensor(type, shape, rank, bytes);
  memset(TF_TensorData(tensor), 0, bytes);
  return tensor;
}

static TF_Tensor* pool_images(const Reference* reference, int first, int64_t count) {
  const int64_t* sides = reference->image_shape;
  const int64_t shape[] = {count, sides[0], sides[1], sides[2]};
  TF_Tensor* tensor = new_tensor(TF_FLOAT, shape, 4);
  float* next = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; i++, next += reference->image_values)
    memcpy(next, reference->images + (first + i) % POOL * reference->image_values,
           reference->image_values * sizeof(float));
  return tensor;
}

Reference reference_make(SavedModel* model, const int64_t* image_shape, uint64_t seed) {
  Reference reference = {.image_values = image_shape[0] * image_shape[1] * image_shape[2],
                         .output_count = model->output_count};
  memcpy(reference.image_shape, image_shape, sizeof reference.image_shape);
  memcpy(reference.types, model->output_types, sizeof reference.types);
  reference.images = malloc(POOL * reference.image_values * sizeof(float));
  for (int64_t i = 0; i < POOL * reference.image_values; i++)
    reference.images[i] = (float)draw_fraction(&seed);
  for (int image = 0; image < POOL; image++) {
    Task task = {.images = pool_images(&reference, image, 1)}, *one = &task;
    answer_tasks(model, &one, 1, 1);
    if (task.code != TF_OK) stop("reference: %s", task.message);
    for (int i = 0; i < model->output_count; i++) {
      const int64_t bytes = reference.row_bytes[i] = task.output_bytes[i];
      if (image == 0) reference.outputs[i] = malloc(POOL * bytes);
      memcpy(reference.outputs[i] + image * bytes, task.outputs[i], bytes);
    }
    task_clear(&task);
    TF_DeleteTensor(task.images);
  }
  return reference;
}

void reference_free(Reference* reference) {
  for (int i = 0; i < reference->output_count; i++) free(reference->outputs[i]);
  free(reference->images);
}

static const char* const OUT_OF_RANGE = "[0, 1] needed";
static const char* const WRONG_SHAPE = "images: shape [";

/* Replace valid images by invalid ones of one of ten kinds. */
static void make_bad(const Reference* reference, Request* request, uint64_t* state,
                     int64_t too_many, const char* too_many_error, bool batching) {
  const int64_t* sides = reference->image_shape;
  int64_t shape[] = {SIZES[request->size], sides[0], sides[1], sides[2]};
  const int64_t values = shape[0] * reference->image_values;
  float* pixels = TF_TensorData(request->images);
  TF_Tensor* other = NULL;
  request->error = OUT_OF_RANGE;
  switch (draw(state) % 10) {
    case 0: pixels[draw(state) % values] = NAN; break;
    case 1: pixels[draw(state) % values] = INFINITY; break;
    case 2: pixels[draw(state) % values] = 1.01f; break;
    case 3:
      for (int64_t i = 0; i < values; i++) pixels[i] *= 255;
      break;
    case 4:
      shape[1]++;
      other = new_tensor(TF_FLOAT, shape, 4);
      request->error = WRONG_SHAPE;
      break;
    case 5:
      other = new_tensor(TF_FLOAT, sides, 3); /* One image without a batch. */
      request->error = WRONG_SHAPE;
      break;
    case 6:
      other = new_tensor(TF_FLOAT, NULL, 0);
      request->error = batching ? "must have at least one dimension" : WRONG_SHAPE;
      break;
    case 7:
      other = new_tensor(draw(state) % 2 ? TF_DOUBLE : TF_UINT8, shape, 4);
      request->error = "to be float but";
      break;
    case 8:
      shape[0] = 0;
      other = new_tensor(TF_FLOAT, shape, 4);
      request->error = "images: 0 given";
      break;
    default:
      other = pool_images(reference, request->first, too_many);
      request->error = too_many_error;
  }
  if (other == NULL) return;
  TF_DeleteTensor(request->images);
  request->images = other;
}

Request request_make(const Reference* reference, uint64_t seed, long number, double bad_share,
                     int64_t too_many, const char* too_many_error, bool batching) {
  uint64_t state = seed * 1000003 + (uint64_t)number;
  Request request = {.error = NULL};
  const bool bad = draw_fraction(&state) < bad_share;
  request.size = (int)(draw(&state) % SIZE_COUNT);
  request.first = (int)(draw(&state) % POOL);
  request.images = pool_images(reference, request.first, SIZES[request.size]);
  if (bad) make_bad(reference, &request, &state, too_many, too_many_error, batching);
  return request;
}

bool answer_is_right(const Reference* reference, const Request* request, const Task* task,
                     double tolerance) {
  const int size = SIZES[request->size];
  for (int i = 0; i < reference->output_count; i++) {
    const int64_t bytes = reference->row_bytes[i];
    if (task->output_bytes[i] != size * bytes) return false;
    for (int row = 0; row < size; row++) {
      const char* found = (const char*)task->outputs[i] + row * bytes;
      const char* expected = reference->outputs[i] + (request->first + row) % POOL * bytes;
      if (reference->types[i] != TF_FLOAT) {
        if (memcmp(found, expected, bytes) != 0) return false;
        continue;
      }
      const float *x = (const float*)found, *y = (const float*)expected;
      for (int64_t v = 0; v < bytes / (int64_t)sizeof(float); v++)
        if (!(fabsf(x[v] - y[v]) <= tolerance)) return false; /* NaN is wrong too. */
    }
  }
  return true;
}
