// The functions come with -fsanitize=fuzzer,address; SwiftPM asks for a source file.
#include "fuzzer_driver.h"
