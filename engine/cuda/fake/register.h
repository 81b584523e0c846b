// Makes a kernel known to the fake driver by its name.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>

namespace fake {

struct Kernel {
    size_t parameter_bytes;
    /// What one thread does with the parameter that lies there.
    std::function<void(const void*)> run;
};

std::map<std::string, Kernel>& kernels();

template <class Parameter>
bool make_known(const char* name, void (*kernel)(Parameter)) {
    kernels()[name] = {sizeof(Parameter), [kernel](const void* at) { kernel(*(const Parameter*)at); }};
    return true;
}

}  // namespace fake

#define REGISTER(name) static const bool known_##name = fake::make_known(#name, &name);
