// Which instructions this machine runs.
#pragma once

namespace sparseagent {

// Whether the CPU has every feature named in `features` (separated by spaces) and the
// operating system saves the registers they use. An unknown name counts as absent; ""
// is always there.
bool cpu_has(const char* features);

}  // namespace sparseagent
