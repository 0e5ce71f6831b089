#include "saved_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stop(const char* format, ...) {
  va_list values;
  va_start(values, format);
  vfprintf(stderr, format, values);
  va_end(values);
  fputc('\n', stderr);
  exit(2);
}

static TF_Output find_tensor(TF_Graph* graph, const char* name) {
  char operation[256];
  const char* colon = strchr(name, ':');
  if (colon == NULL || colon - name >= (long)sizeof operation) stop("%s: no tensor name", name);
  snprintf(operation, sizeof operation, "%.*s", (int)(colon - name), name);
  TF_Output found = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (found.oper == NULL) stop("%s: not in the graph", name);
  return found;
}

SavedModel saved_model_load(const char* directory, const char* input, char* const* outputs,
                            int output_count, int threads) {
  SavedModel model = {.graph = TF_NewGraph(), .output_count = output_count};
  TF_Status* status = TF_NewStatus();
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (threads == 1) {
    /* ConfigProto: intra_op_parallelism_threads = 1, inter_op_parallelism_threads = 1. */
    const unsigned char config[] = {0x10, 1, 0x28, 1};
    TF_SetConfig(options, config, sizeof config, status);
    if (TF_GetCode(status) != TF_OK) stop("TF_SetConfig: %s", TF_Message(status));
  }
  const char* tags[] = {"serve"};
  model.session = TF_LoadSessionFromSavedModel(options, NULL, directory, tags, 1, model.graph, NULL,
                                               status);
  if (TF_GetCode(status) != TF_OK) stop("%s: %s", directory, TF_Message(status));
  model.input = find_tensor(model.graph, input);
  for (int i = 0; i < output_count; i++) {
    model.outputs[i] = find_tensor(model.graph, outputs[i]);
    model.output_types[i] = TF_OperationOutputType(model.outputs[i]);
  }
  TF_DeleteSessionOptions(options);
  TF_DeleteStatus(status);
  return model;
}

void saved_model_close(SavedModel* model) {
  TF_Status* status = TF_NewStatus();
  TF_CloseSession(model->session, status);
  TF_DeleteSession(model->session, status);
  TF_DeleteGraph(model->graph);
  TF_DeleteStatus(status);
}

int64_t task_size(const Task* task) {
  return TF_NumDims(task->images) > 0 ? TF_Dim(task->images, 0) : 0;
}

void task_clear(Task* task) {
  for (int i = 0; i < MAX_OUTPUTS; i++) {
    free(task->outputs[i]);
    task->outputs[i] = NULL;
  }
}

static void fail_tasks(Task** tasks, int count, TF_Code code, const char* message) {
  for (int i = 0; i < count; i++) {
    tasks[i]->code = code;
    snprintf(tasks[i]->message, MAX_MESSAGE, "%s", message);
  }
}

/* Return the joined images, or NULL after an error, which all requests get. */
static TF_Tensor* join_images(Task** tasks, int count, int64_t size) {
  const TF_Tensor* first = tasks[0]->images;
  int64_t shape[8] = {size}, joined = task_size(tasks[0]);
  const int rank = TF_NumDims(first);
  size_t row_bytes = TF_DataTypeSize(TF_TensorType(first));
  for (int d = 1; d < rank; d++) row_bytes *= shape[d] = TF_Dim(first, d);
  for (int i = 1; i < count; i++) {
    const TF_Tensor* images = tasks[i]->images;
    bool same_shape = TF_NumDims(images) == rank;
    for (int d = 1; same_shape && d < rank; d++) same_shape = TF_Dim(images, d) == shape[d];
    if (!same_shape) {
      fail_tasks(tasks, count, TF_FAILED_PRECONDITION, "Tensors have different shapes");
      return NULL;
    }
    if (TF_TensorType(images) != TF_TensorType(first)) {
      fail_tasks(tasks, count, TF_INVALID_ARGUMENT, "Tensors have different data types");
      return NULL;
    }
    joined += task_size(tasks[i]);
  }
  TF_Tensor* all = TF_AllocateTensor(TF_TensorType(first), shape, rank, size * row_bytes);
  char* next = TF_TensorData(all);
  for (int i = 0; i < count; i++) {
    const size_t bytes = TF_TensorByteSize(tasks[i]->images);
    memcpy(next, TF_TensorData(tasks[i]->images), bytes);
    next += bytes;
  }
  for (int64_t row = joined; row < size; row++, next += row_bytes)
    memcpy(next, TF_TensorData(tasks[count - 1]->images), row_bytes);
  return all;
}

/* Copy the rows of each request out of one output. Return false if it has other rows. */
static bool split_output(const TF_Tensor* output, int index, Task** tasks, int count,
                         int64_t size) {
  if (size < 1 || TF_NumDims(output) < 1 || TF_Dim(output, 0) != size) return false;
  const size_t row_bytes = TF_TensorByteSize(output) / size;
  const char* next = TF_TensorData(output);
  for (int i = 0; i < count; i++) {
    const size_t bytes = row_bytes * task_size(tasks[i]);
    tasks[i]->outputs[index] = malloc(bytes);
    tasks[i]->output_bytes[index] = bytes;
    memcpy(tasks[i]->outputs[index], next, bytes);
    next += bytes;
  }
  return true;
}

void answer_tasks(SavedModel* model, Task** tasks, int count, int64_t size) {
  int bad = 0;
  for (int i = 0; i < count; i++) bad += tasks[i]->bad;
  for (int i = 0; i < count; i++) {
    tasks[i]->code = TF_OK;
    tasks[i]->joined = count;
    tasks[i]->joined_a_bad = bad > tasks[i]->bad;
  }
  const bool alone = count == 1 && task_size(tasks[0]) == size;
  TF_Tensor* images = alone ? tasks[0]->images : join_images(tasks, count, size);
  if (images == NULL) return;
  TF_Tensor* outputs[MAX_OUTPUTS] = {NULL};
  TF_Status* status = TF_NewStatus();
  TF_SessionRun(model->session, NULL, &model->input, &images, 1, model->outputs, outputs,
                model->output_count, NULL, 0, NULL, status);
  if (TF_GetCode(status) != TF_OK)
    fail_tasks(tasks, count, TF_GetCode(status), TF_Message(status));
  for (int i = 0; i < model->output_count && TF_GetCode(status) == TF_OK; i++)
    if (!split_output(outputs[i], i, tasks, count, size))
      fail_tasks(tasks, count, TF_INTERNAL, "an output has another number of rows than the batch");
  for (int i = 0; i < model->output_count; i++)
    if (outputs[i] != NULL) TF_DeleteTensor(outputs[i]);
  if (!alone) TF_DeleteTensor(images);
  TF_DeleteStatus(status);
}
