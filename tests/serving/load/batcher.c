#include "batcher.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t now_micros(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* Return how many waiting requests the next batch takes, and whether no further one fits. */
static int count_joinable(const Batcher* batcher, int64_t* size, bool* full) {
  int count = 0;
  *size = 0;
  *full = false;
  for (const Task* task = batcher->first; task != NULL; task = task->next, count++) {
    *full = count == MAX_JOINED || *size + task_size(task) > batcher->parameters.max_batch_size;
    if (*full) return count;
    *size += task_size(task);
  }
  *full = *size == batcher->parameters.max_batch_size;
  return count;
}

/* Wait for a batch and remove its requests from the queue. Return their number; 0 at the end. */
static int gather_batch(Batcher* batcher, Task** tasks, int64_t* size) {
  pthread_mutex_lock(&batcher->one_gathers);
  pthread_mutex_lock(&batcher->lock);
  while (batcher->first == NULL && !batcher->closed)
    pthread_cond_wait(&batcher->arrived, &batcher->lock);
  int count = 0;
  if (batcher->first != NULL) {
    const int64_t deadline = batcher->first->arrival + batcher->parameters.batch_timeout_micros;
    const struct timespec until = {deadline / 1000000, deadline % 1000000 * 1000};
    bool full;
    while (count = count_joinable(batcher, size, &full), !full && now_micros() < deadline)
      pthread_cond_timedwait(&batcher->arrived, &batcher->lock, &until);
  }
  for (int i = 0; i < count; i++) {
    tasks[i] = batcher->first;
    batcher->first = batcher->first->next;
  }
  if (batcher->first == NULL) batcher->last = NULL;
  pthread_mutex_unlock(&batcher->lock);
  pthread_mutex_unlock(&batcher->one_gathers);
  return count;
}

static int64_t next_allowed_size(const BatchingParameters* parameters, int64_t size) {
  for (int i = 0; i < parameters->allowed_count; i++)
    if (parameters->allowed_batch_sizes[i] >= size) return parameters->allowed_batch_sizes[i];
  return size;
}

static void* answer_batches(void* given) {
  Batcher* batcher = given;
  Task* tasks[MAX_JOINED];
  int64_t size;
  int count;
  while ((count = gather_batch(batcher, tasks, &size)) > 0) {
    answer_tasks(batcher->model, tasks, count, next_allowed_size(&batcher->parameters, size));
    pthread_mutex_lock(&batcher->lock);
    batcher->batches++;
    batcher->joined_requests += count > 1 ? count : 0;
    for (int i = 0; i < count; i++) tasks[i]->done = true;
    pthread_cond_broadcast(&batcher->answered);
    pthread_mutex_unlock(&batcher->lock);
  }
  return NULL;
}

void batcher_start(Batcher* batcher, SavedModel* model, const BatchingParameters* parameters) {
  *batcher = (Batcher){.model = model, .parameters = *parameters};
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&batcher->arrived, &monotonic);
  pthread_cond_init(&batcher->answered, NULL);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&batcher->lock, NULL);
  pthread_mutex_init(&batcher->one_gathers, NULL);
  for (int i = 0; i < parameters->num_batch_threads; i++)
    if (pthread_create(&batcher->threads[i], NULL, answer_batches, batcher) != 0)
      stop("pthread_create failed");
}

/* Refuse what TF Serving refuses before the queue. An empty request is answered alone: padding
   takes the first image of the last request, and an empty one has none. */
static bool answer_without_batch(Batcher* batcher, Task* task) {
  task->joined = 1;
  task->joined_a_bad = false;
  task->code = TF_INVALID_ARGUMENT;
  if (TF_NumDims(task->images) == 0) {
    snprintf(task->message, MAX_MESSAGE,
             "Batching Run() input tensors must have at least one dimension");
    return true;
  }
  const int64_t size = task_size(task), limit = batcher->parameters.max_batch_size;
  if (size > limit) {
    snprintf(task->message, MAX_MESSAGE,
             "Task size %lld is larger than maximum input batch size %lld", (long long)size,
             (long long)limit);
    return true;
  }
  if (size == 0) answer_tasks(batcher->model, &task, 1, 0);
  return size == 0;
}

void batcher_answer(Batcher* batcher, Task* task) {
  if (answer_without_batch(batcher, task)) return;
  task->done = false;
  task->next = NULL;
  task->arrival = now_micros();
  pthread_mutex_lock(&batcher->lock);
  if (batcher->last == NULL)
    batcher->first = task;
  else
    batcher->last->next = task;
  batcher->last = task;
  pthread_cond_broadcast(&batcher->arrived);
  while (!task->done) pthread_cond_wait(&batcher->answered, &batcher->lock);
  pthread_mutex_unlock(&batcher->lock);
}

void batcher_stop(Batcher* batcher) {
  pthread_mutex_lock(&batcher->lock);
  batcher->closed = true;
  pthread_cond_broadcast(&batcher->arrived);
  pthread_mutex_unlock(&batcher->lock);
  for (int i = 0; i < batcher->parameters.num_batch_threads; i++)
    pthread_join(batcher->threads[i], NULL);
  pthread_cond_destroy(&batcher->arrived);
  pthread_cond_destroy(&batcher->answered);
  pthread_mutex_destroy(&batcher->lock);
  pthread_mutex_destroy(&batcher->one_gathers);
}
