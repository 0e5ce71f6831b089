/* Load a SavedModel with TensorFlow's C API, as TF Serving does, and run one signature on images.

   load_saved_model DIR INPUT_TENSOR OUTPUT_TENSOR N H W C < float32 images > float32 outputs

   Exit status 3 and the message on stderr: the model rejected the images. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void stop(TF_Status* status, int code) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "code %d: %s\n", TF_GetCode(status), TF_Message(status));
  exit(TF_GetCode(status) == TF_INVALID_ARGUMENT ? 3 : code);
}

static TF_Output tensor(TF_Graph* graph, char* name) {
  char* colon = strchr(name, ':');
  *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(4);
  }
  return output;
}

int main(int count, char** given) {
  if (count != 8) return 2;
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, given[1], tags, 1, graph, NULL, status);
  stop(status, 1);

  int64_t shape[4];
  size_t values = 1;
  for (int i = 0; i < 4; i++) values *= shape[i] = atoll(given[4 + i]);
  TF_Tensor* images = TF_AllocateTensor(TF_FLOAT, shape, 4, values * sizeof(float));
  if (fread(TF_TensorData(images), sizeof(float), values, stdin) != values) return 2;

  TF_Output input = tensor(graph, given[2]), output = tensor(graph, given[3]);
  TF_Tensor* answer = NULL;
  TF_SessionRun(session, NULL, &input, &images, 1, &output, &answer, 1, NULL, 0, NULL, status);
  stop(status, 1);
  fwrite(TF_TensorData(answer), 1, TF_TensorByteSize(answer), stdout);
  return 0;
}
