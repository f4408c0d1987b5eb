/* Files of the host, through a debugger or qemu. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

enum { READ = 1, WRITE = 5 }; /* binary */

int32_t open_file(const char* name, int32_t length, int32_t mode);
int32_t read_file(int32_t file, void* to, int32_t bytes); /* bytes read */
void write_file(int32_t file, const void* from, int32_t bytes);

#endif
