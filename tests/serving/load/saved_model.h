/* A SavedModel in a session of TensorFlow's C API, and requests to one of its signatures. */

#ifndef SAVED_MODEL_H
#define SAVED_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tensorflow/c/c_api.h"

enum { MAX_OUTPUTS = 8, MAX_JOINED = 64, MAX_MESSAGE = 512 };

typedef struct {
  TF_Graph* graph;
  TF_Session* session;
  TF_Output input;
  TF_Output outputs[MAX_OUTPUTS];
  TF_DataType output_types[MAX_OUTPUTS];
  int output_count;
} SavedModel;

/* Request and its answer. The caller sets `images` and `bad`. */
typedef struct Task {
  TF_Tensor* images;
  bool bad; /* The request is invalid on purpose. */

  TF_Code code; /* TF_OK: `outputs` holds the answer; else `message` holds the reason. */
  char message[MAX_MESSAGE];
  void* outputs[MAX_OUTPUTS];
  int64_t output_bytes[MAX_OUTPUTS];
  int joined;        /* Number of requests in the batch. */
  bool joined_a_bad; /* Another request in the batch is invalid. */

  bool done; /* These three belong to the batcher. */
  int64_t arrival;
  struct Task* next;
} Task;

/* Print a message and exit with status 2. */
__attribute__((format(printf, 1, 2), noreturn)) void stop(const char* format, ...);

/* Load the SavedModel with the tag "serve". `threads` = 1: compute single-threaded; 0: default. */
SavedModel saved_model_load(const char* directory, const char* input, char* const* outputs,
                            int output_count, int threads);
void saved_model_close(SavedModel* model);

/* First dimension of the images; 0 for a scalar. */
int64_t task_size(const Task* task);
/* Free the answer, not the images. */
void task_clear(Task* task);

/* Join the requests in the first dimension, pad them to `size` images with the first image of the
   last request, run the model once, and split its outputs. A mistake in one request fails all. */
void answer_tasks(SavedModel* model, Task** tasks, int count, int64_t size);

#endif
