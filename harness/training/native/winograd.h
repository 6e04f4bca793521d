// Winograd's convolutions: 3x3 kernels at stride 1 with a quarter of the multiplications.
//
// F(4x4, 3x3) of Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016): a tile of 4x4 outputs comes
// from a window of 6x6 inputs. Windows and kernel are transformed to 36 numbers each, these are multiplied and summed
// over the input channels number by number, and the 36 sums are transformed to the 16 outputs. The gradient of the
// kernel is the transpose of this: 4x4 gradients of a tile are transformed to 36 numbers, multiplied by those of the
// window, summed over all tiles and images, and the sums transformed to 3x3.
// The tiles at the end of a map are as high and wide as what is left of it, and have fewer numbers: F(2, 3) or F(3, 3) in
// the place of F(4, 3), and for one output three of its points.
#pragma once
#include "convolution.h"

namespace engine {

constexpr int TILE = 4, WINDOW = 6, NUMBERS = WINDOW * WINDOW;

// Whether tiles are faster than convolution.cpp, for so many rows and columns of outputs. A function of the shape alone,
// so that equal networks have equal bits everywhere.
bool pays_in_tiles(const Convolution& c, int height, int width);
// The same for the gradient of so many rows and columns of inputs.
bool pays_back_in_tiles(const Convolution& c, int height, int width);

// Vectors of a packed kernel, and of the room that the functions below need.
size_t tiled_kernel(const Convolution& c);
size_t tiled_room(const Convolution& c);

// A kernel as its numbers, [number][in][out]; for the way back turned half round, inputs and outputs exchanged.
void pack_in_tiles(const Convolution& c, const real* kernel, bool back, V* packed);

// As the functions of convolution.h.
void convolve_in_tiles(const Convolution& c, const Map& x, const V* packed, const real* bias, const Map& y, V* room);
void convolve_back_in_tiles(const Convolution& c, const Map& dy, const V* packed, const Map& dx, V* room);
void kernel_gradient_in_tiles(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias,
                              V* room);

}  // namespace engine
