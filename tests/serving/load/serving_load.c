/* Load test of a SavedModel: threads that send requests, some of them invalid, to one session of
   TensorFlow's C API, with or without batching.

     serving_load --model=DIR --input=TENSOR --image_shape=H,W,C --output=TENSOR
         [--output=TENSOR ...] [--requests=10000] [--threads=8] [--bad_share=0.1] [--seed=0] [--tolerance=1e-4]
         [--max_growth_mib=64] [--max_batch_size=128 --allowed_batch_sizes=1,8,32,128
         --batch_timeout_micros=2000 --num_batch_threads=4]

   Every answer is compared with that of a single-threaded session to each image alone. A valid
   request that fails because another one in its batch is invalid is sent again. Prints one line of
   JSON. Exit status 1: an answer is wrong, or memory grew; 2: wrong arguments. */

#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batcher.h"
#include "requests.h"

enum { MAX_THREADS = 64, MAX_ATTEMPTS = 200 };
static const int64_t TOO_MANY = 4097; /* bin/export --max_batch is 4096 by default. */

typedef struct {
  const char *model, *input;
  char* outputs[MAX_OUTPUTS];
  int64_t image_shape[3];
  int output_count, threads;
  long requests;
  double bad_share, tolerance, max_growth_mib;
  uint64_t seed;
  BatchingParameters batching;
} Options;

typedef struct {
  const Options* options;
  const Reference* reference;
  SavedModel* model;
  Batcher* batcher; /* NULL: each request alone. */
  long end;
  atomic_long next, wrong, bad, refused, sent_again;
  double* milliseconds; /* By request; negative: no answer expected. */
  unsigned char* sizes; /* By request: index in SIZES. */
} Load;

static double resident_mib(void) {
  long pages, resident;
  FILE* file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2) stop("/proc/self/statm");
  fclose(file);
  return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void report_wrong(Load* load, long number, const char* text, const Task* task) {
  if (atomic_fetch_add(&load->wrong, 1) < 5)
    fprintf(stderr, "request %ld: %s; code %d, %d joined: %s\n", number, text, task->code,
            task->joined, task->code == TF_OK ? "" : task->message);
}

/* A refusal of a joined request may have the text for another one. */
static bool is_refused(const Request* request, const Task* task) {
  if (task->code != TF_INVALID_ARGUMENT && task->code != TF_FAILED_PRECONDITION) return false;
  return task->joined_a_bad || strstr(task->message, request->error) != NULL ||
         (task->joined > 1 && strstr(task->message, "Tensors have different") != NULL);
}

static void send_request(Load* load, long number) {
  const Options* options = load->options;
  const bool batching = load->batcher != NULL;
  const int64_t limit = options->batching.max_batch_size;
  Request request =
      request_make(load->reference, options->seed, number, options->bad_share,
                   batching ? limit + 1 : TOO_MANY,
                   batching ? "larger than maximum input batch size" : "given, 1 to", batching);
  load->sizes[number] = (unsigned char)request.size;
  load->milliseconds[number] = -1;
  for (int attempt = 0;; attempt++) {
    Task task = {.images = request.images, .bad = request.error != NULL}, *one = &task;
    const int64_t started = now_micros();
    if (batching)
      batcher_answer(load->batcher, &task);
    else
      answer_tasks(load->model, &one, 1, task_size(&task));
    const double milliseconds = (double)(now_micros() - started) / 1000;
    const bool is_answer = task.code == TF_OK;
    const bool again = !task.bad && !is_answer && task.joined_a_bad && attempt < MAX_ATTEMPTS;
    if (again) {
      atomic_fetch_add(&load->sent_again, 1);
    } else if (task.bad) {
      atomic_fetch_add(&load->bad, 1);
      if (is_refused(&request, &task))
        atomic_fetch_add(&load->refused, 1);
      else
        report_wrong(load, number, request.error, &task);
    } else if (is_answer &&
               answer_is_right(load->reference, &request, &task, options->tolerance)) {
      load->milliseconds[number] = milliseconds;
    } else {
      report_wrong(load, number, "wrong answer", &task);
    }
    task_clear(&task);
    if (!again) break;
  }
  TF_DeleteTensor(request.images);
}

static void* send_requests(void* given) {
  Load* load = given;
  for (long number; (number = atomic_fetch_add(&load->next, 1)) < load->end;)
    send_request(load, number);
  return NULL;
}

/* Send the requests up to `end` from all threads; return the seconds it took. */
static double run_load(Load* load, long end) {
  pthread_t threads[MAX_THREADS];
  const long first = load->end;
  load->end = end;
  atomic_store(&load->next, first);
  const int64_t started = now_micros();
  for (int i = 0; i < load->options->threads; i++)
    if (pthread_create(&threads[i], NULL, send_requests, load) != 0) stop("pthread_create failed");
  for (int i = 0; i < load->options->threads; i++) pthread_join(threads[i], NULL);
  return (double)(now_micros() - started) / 1e6;
}

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* Print {"1": [p50, p99], ...} of the requests from `first` on. */
static void print_latency(const Load* load, long first) {
  double* found = malloc((size_t)(load->end - first) * sizeof(double));
  for (int size = 0; size < SIZE_COUNT; size++) {
    long count = 0;
    for (long i = first; i < load->end; i++)
      if (load->sizes[i] == size && load->milliseconds[i] >= 0)
        found[count++] = load->milliseconds[i];
    qsort(found, (size_t)count, sizeof(double), compare);
    printf("%s\"%d\": ", size ? ", " : "", SIZES[size]);
    if (count == 0)
      printf("null");
    else
      printf("[%.2f, %.2f]", found[(count - 1) / 2], found[(count - 1) * 99 / 100]);
  }
  free(found);
}

/* Parse positive integers with commas between them; return their number. */
static int parse_integers(const char* flag, char* text, int64_t* found, int limit) {
  int count = 0;
  for (char* each = strtok(text, ","); each != NULL; each = strtok(NULL, ",")) {
    if (count == limit || atoll(each) < 1) stop("--%s: up to %d positive integers", flag, limit);
    found[count++] = atoll(each);
  }
  return count;
}

static Options parse_options(int count, char** given) {
  enum { MODEL, INPUT, SHAPE, OUTPUT, REQUESTS, THREADS, BAD, SEED, TOLERANCE, GROWTH, MAX, ALLOWED,
         TIMEOUT, BATCH_THREADS, FLAGS };
  static const char* const names[FLAGS] = {
      "model", "input", "image_shape", "output", "requests", "threads", "bad_share", "seed", "tolerance",
      "max_growth_mib", "max_batch_size", "allowed_batch_sizes", "batch_timeout_micros",
      "num_batch_threads"};
  struct option flags[FLAGS + 1] = {{0}};
  for (int i = 0; i < FLAGS; i++) flags[i] = (struct option){names[i], required_argument, NULL, i};
  Options found = {.requests = 10000, .threads = 8, .bad_share = 0.1, .tolerance = 1e-4,
                   .max_growth_mib = 64, .batching.num_batch_threads = 4};
  for (int flag; (flag = getopt_long(count, given, "", flags, NULL)) != -1;) {
    switch (flag) {
      case MODEL: found.model = optarg; break;
      case INPUT: found.input = optarg; break;
      case SHAPE:
        if (parse_integers("image_shape", optarg, found.image_shape, 3) != 3)
          stop("--image_shape: H,W,C needed");
        break;
      case OUTPUT:
        if (found.output_count == MAX_OUTPUTS) stop("--output: at most %d", MAX_OUTPUTS);
        found.outputs[found.output_count++] = optarg;
        break;
      case REQUESTS: found.requests = atol(optarg); break;
      case THREADS: found.threads = atoi(optarg); break;
      case BAD: found.bad_share = atof(optarg); break;
      case SEED: found.seed = strtoull(optarg, NULL, 10); break;
      case TOLERANCE: found.tolerance = atof(optarg); break;
      case GROWTH: found.max_growth_mib = atof(optarg); break;
      case MAX: found.batching.max_batch_size = atoll(optarg); break;
      case ALLOWED:
        found.batching.allowed_count = parse_integers(
            "allowed_batch_sizes", optarg, found.batching.allowed_batch_sizes, MAX_SIZES);
        break;
      case TIMEOUT: found.batching.batch_timeout_micros = atoll(optarg); break;
      case BATCH_THREADS: found.batching.num_batch_threads = atoi(optarg); break;
      default: exit(2);
    }
  }
  if (found.model == NULL || found.input == NULL || found.output_count == 0 ||
      found.image_shape[0] == 0)
    stop("--model, --input, --image_shape and --output are needed");
  if (found.requests < 1 || found.threads < 1 || found.threads > MAX_THREADS)
    stop("--requests: at least 1; --threads: 1 to %d", MAX_THREADS);
  const BatchingParameters* batching = &found.batching;
  if (batching->num_batch_threads < 1 || batching->num_batch_threads > MAX_BATCH_THREADS)
    stop("--num_batch_threads: 1 to %d", MAX_BATCH_THREADS);
  if (batching->max_batch_size != 0 && batching->max_batch_size < SIZES[SIZE_COUNT - 1])
    stop("--max_batch_size: at least %d", SIZES[SIZE_COUNT - 1]);
  return found;
}

int main(int count, char** given) {
  Options options = parse_options(count, given);
  SavedModel single = saved_model_load(options.model, options.input, options.outputs,
                                       options.output_count, 1);
  Reference reference = reference_make(&single, options.image_shape, options.seed);
  saved_model_close(&single);
  SavedModel model = saved_model_load(options.model, options.input, options.outputs,
                                      options.output_count, 0);
  Batcher batcher;
  const bool batching = options.batching.max_batch_size > 0;
  if (batching) batcher_start(&batcher, &model, &options.batching);

  /* The first requests are the warm-up: they are checked too, but not counted or timed. */
  const long warm_up = options.requests / 10 > 50 ? options.requests / 10 : 50;
  const size_t total = (size_t)(warm_up + options.requests);
  Load load = {.options = &options, .reference = &reference, .model = &model,
               .batcher = batching ? &batcher : NULL,
               .milliseconds = calloc(total, sizeof(double)), .sizes = calloc(total, 1)};
  run_load(&load, warm_up);
  const long bad = load.bad, refused = load.refused, again = load.sent_again;
  const long batches = batching ? batcher.batches : 0;
  const long joined = batching ? batcher.joined_requests : 0;
  const double start_mib = resident_mib();
  const double seconds = run_load(&load, (long)total);
  const double end_mib = resident_mib();
  if (batching) batcher_stop(&batcher);

  printf("{\"requests\": %ld, \"threads\": %d, \"batching\": %s, \"wrong\": %ld, \"bad\": %ld, "
         "\"refused\": %ld, \"sent_again\": %ld, \"batches\": %ld, \"joined\": %ld, "
         "\"seconds\": %.1f, \"latency_ms\": {",
         options.requests, options.threads, batching ? "true" : "false", (long)load.wrong,
         load.bad - bad, load.refused - refused, load.sent_again - again,
         batching ? batcher.batches - batches : 0, batching ? batcher.joined_requests - joined : 0,
         seconds);
  print_latency(&load, warm_up);
  printf("}, \"rss_start_mib\": %.1f, \"rss_end_mib\": %.1f}\n", start_mib, end_mib);

  const bool failed = load.wrong > 0 || end_mib - start_mib > options.max_growth_mib;
  free(load.milliseconds);
  free(load.sizes);
  reference_free(&reference);
  saved_model_close(&model);
  return failed;
}
