/* Batching of requests that wait at the same time, as TF Serving does it with --enable_batching. */

#ifndef BATCHER_H
#define BATCHER_H

#include <pthread.h>

#include "saved_model.h"

enum { MAX_SIZES = 16, MAX_BATCH_THREADS = 16 };

/* The parameters have the names of TF Serving's batching_parameters.txt. */
typedef struct {
  int64_t max_batch_size; /* 0: no batching. */
  int64_t batch_timeout_micros;
  int num_batch_threads;
  int64_t allowed_batch_sizes[MAX_SIZES]; /* Ascending; the last one is max_batch_size. */
  int allowed_count;
} BatchingParameters;

typedef struct {
  SavedModel* model;
  BatchingParameters parameters;
  pthread_t threads[MAX_BATCH_THREADS];
  pthread_mutex_t one_gathers; /* Held by the thread that fills the open batch. */
  pthread_mutex_t lock;        /* Guards everything below. */
  pthread_cond_t arrived;
  pthread_cond_t answered;
  Task* first;
  Task* last;
  bool closed;
  long batches;
  long joined_requests;
} Batcher;

void batcher_start(Batcher* batcher, SavedModel* model, const BatchingParameters* parameters);
/* Answer the request, in a batch with others; return when the answer is there. */
void batcher_answer(Batcher* batcher, Task* task);
void batcher_stop(Batcher* batcher);

int64_t now_micros(void);

#endif
