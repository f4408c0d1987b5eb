/* Pruned policies in C: load a policy file, and act.

   Functions that can fail take a buffer for what went wrong, which may be null, and
   return 0 for success; nothing is thrown or printed. A policy may be used by many
   threads at once. With one thread a call allocates nothing: loading prepares the
   thread that loads, `sparseagent_prepare` any other. Outputs have the bits of the
   Python plan. */
#ifndef SPARSEAGENT_H
#define SPARSEAGENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SPARSEAGENT_API __attribute__((visibility("default")))
#else
#define SPARSEAGENT_API
#endif

/* A policy, packed for this machine. */
typedef struct sparseagent_policy sparseagent_policy;

/* What to load it for; zeros, or null in its place, for the defaults. */
typedef struct {
  const char*
      isa; /* instruction set, "avx2" say; null for the widest of this machine */
  int32_t threads; /* that share one call where it pays; 0 for 1 */
  double
      tune_ms; /* time for choosing kernels; 0 for 30, negative for a rule of thumb */
} sparseagent_options;

enum {
  SPARSEAGENT_FLOAT32,
  SPARSEAGENT_FLOAT64,
  SPARSEAGENT_UINT8,
  SPARSEAGENT_INT8,
  SPARSEAGENT_INT32,
  SPARSEAGENT_INT64,
  SPARSEAGENT_BOOL
};

/* Observations of one input, row-major [batch, size]. */
typedef struct {
  const void* data;
  int32_t dtype;
} sparseagent_array;

/* "1.2.3". */
SPARSEAGENT_API const char* sparseagent_version(void);

/* Null if the file is no policy file, or the options ask for what there is not. */
SPARSEAGENT_API sparseagent_policy* sparseagent_load(const char* path,
                                                     const sparseagent_options* options,
                                                     char* error, size_t error_size);
SPARSEAGENT_API sparseagent_policy* sparseagent_load_bytes(
    const void* data, size_t size, const sparseagent_options* options, char* error,
    size_t error_size);
SPARSEAGENT_API void sparseagent_free(sparseagent_policy* policy);

/* Inputs and outputs by number, from 0 on; null or 0 where there is none of that
 * number. */
SPARSEAGENT_API int32_t sparseagent_inputs(const sparseagent_policy* policy);
SPARSEAGENT_API const char* sparseagent_input_name(const sparseagent_policy* policy,
                                                   int32_t input);
SPARSEAGENT_API int64_t sparseagent_input_size(const sparseagent_policy* policy,
                                               int32_t input);
SPARSEAGENT_API int32_t sparseagent_outputs(const sparseagent_policy* policy);
SPARSEAGENT_API const char* sparseagent_output_name(const sparseagent_policy* policy,
                                                    int32_t output);
SPARSEAGENT_API int64_t sparseagent_output_size(const sparseagent_policy* policy,
                                                int32_t output);

/* Whether actions are int64 [batch, action size]; if not they are float. */
SPARSEAGENT_API int32_t sparseagent_is_discrete(const sparseagent_policy* policy);
SPARSEAGENT_API int64_t sparseagent_action_size(const sparseagent_policy* policy);

/* Memory for calls from this thread, if it is not the one that loaded the policy. */
SPARSEAGENT_API int32_t sparseagent_prepare(const sparseagent_policy* policy,
                                            char* error, size_t error_size);

/* float [batch, input size] -> float [batch, output size]: of a policy with one input
   the first output, before the action head. */
SPARSEAGENT_API int32_t sparseagent_forward(const sparseagent_policy* policy,
                                            const float* observations, int64_t batch,
                                            float* output, char* error,
                                            size_t error_size);

/* All inputs, in their order, to the first `count` outputs. */
SPARSEAGENT_API int32_t sparseagent_forward_all(const sparseagent_policy* policy,
                                                const sparseagent_array* inputs,
                                                int64_t batch, float* const* outputs,
                                                int32_t count, char* error,
                                                size_t error_size);

/* All inputs to actions, int64 or float [batch, action size]: the deterministic ones.
 */
SPARSEAGENT_API int32_t sparseagent_act(const sparseagent_policy* policy,
                                        const sparseagent_array* inputs, int64_t batch,
                                        void* actions, char* error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
