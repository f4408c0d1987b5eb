/* hostile POLICY: the file cut short at every length, and with every byte changed, is
   refused with a reason; so is every wrong argument. Gives the line of the first that
   is not. */
#include <sparseagent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char error[64];

#define EXPECT(what)                                         \
  if (!(what)) {                                             \
    fprintf(stderr, "%d: %s: %s\n", __LINE__, #what, error); \
    return 1;                                                \
  }

static int refused(const char* bytes, size_t size) {
  return sparseagent_load_bytes(bytes, size, NULL, error, sizeof error) == NULL &&
         error[0];
}

static int arguments(const char* path) {
  sparseagent_options options = {"nonsense", 0, -1};
  sparseagent_array given = {NULL, 0};
  float x[64] = {0}, y[64];
  sparseagent_policy* policy;
  EXPECT(!sparseagent_load("no such file", NULL, error, sizeof error));
  EXPECT(strstr(error, "no such file: "));
  EXPECT(!sparseagent_load(NULL, NULL, NULL, 0));
  EXPECT(!sparseagent_load(path, &options, error, sizeof error));
  EXPECT(strstr(error, "isa: expected one of"));
  EXPECT(!sparseagent_load(path, &options, error, 8));
  EXPECT(strcmp(error, "isa: ex") == 0); /* cut to the room there is */
  options.isa = NULL;
  options.threads = 1000000;
  EXPECT(!sparseagent_load(path, &options, error, sizeof error));
  EXPECT(strstr(error, "threads: expected"));
  options.threads = 0;
  policy = sparseagent_load(path, &options, error, sizeof error);
  EXPECT(policy && !error[0]);
  EXPECT(sparseagent_inputs(policy) == 1 && sparseagent_outputs(policy) == 1);
  EXPECT(strcmp(sparseagent_input_name(policy, 0), "observation") == 0);
  EXPECT(!sparseagent_input_name(policy, 1) && !sparseagent_input_size(policy, -1));
  EXPECT(strcmp(sparseagent_output_name(policy, 0), "action") == 0);
  EXPECT(!sparseagent_output_name(policy, 1) && !sparseagent_output_size(policy, -1));
  EXPECT(sparseagent_forward(policy, x, 1, NULL, error, sizeof error) && error[0]);
  EXPECT(sparseagent_forward(policy, NULL, 1, y, error, sizeof error) && error[0]);
  EXPECT(sparseagent_forward(policy, x, -1, y, error, sizeof error) && error[0]);
  EXPECT(sparseagent_forward(NULL, x, 1, y, error, sizeof error) && error[0]);
  EXPECT(!sparseagent_forward(policy, NULL, 0, NULL, error, sizeof error) && !error[0]);
  EXPECT(sparseagent_act(policy, NULL, 1, y, error, sizeof error) && error[0]);
  EXPECT(sparseagent_act(policy, &given, 1, y, error, sizeof error) && error[0]);
  given.data = x;
  given.dtype = 7;
  EXPECT(sparseagent_act(policy, &given, 1, y, error, sizeof error) && error[0]);
  given.dtype = SPARSEAGENT_FLOAT32;
  EXPECT(sparseagent_act(policy, &given, 1, NULL, NULL, 0));
  EXPECT(sparseagent_forward_all(policy, &given, 1, NULL, 2, error, sizeof error) &&
         error[0]);
  EXPECT(!sparseagent_inputs(NULL) && !sparseagent_action_size(NULL));
  EXPECT(!sparseagent_is_discrete(NULL) && !sparseagent_output_size(NULL, 0));
  sparseagent_free(policy);
  sparseagent_free(NULL);
  return 0;
}

int main(int argc, char** argv) {
  FILE* file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  char* bytes = malloc(1 << 20);
  size_t size, i;
  EXPECT(file && bytes);
  size = fread(bytes, 1, 1 << 20, file);
  fclose(file);
  for (i = 0; i < size; ++i) {
    EXPECT(refused(bytes, i));
    bytes[i] ^= 0x10;
    EXPECT(refused(bytes, size));
    bytes[i] ^= 0x10;
  }
  EXPECT(!refused(bytes, size));
  free(bytes);
  return arguments(argv[1]);
}
