// Winograd convolutions: 3x3 kernels at stride 1 with a quarter of the multiplications.
//
// F(4x4, 3x3) of Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016): a tile of 4x4 outputs is
// computed from a window of 6x6 inputs. Window and kernel are transformed to 36 numbers each, the numbers are
// multiplied and summed over the input channels, and the 36 sums are transformed to the 16 outputs. The gradient of the
// kernel is the transposed computation: the 4x4 gradients of a tile are transformed to 36 numbers, multiplied by the
// numbers of the window, summed over all tiles and images, and the sums are transformed to 3x3. The tiles at the end of
// a map have the remaining height and width, and fewer numbers: F(2, 3) or F(3, 3) instead of F(4, 3), and for a single
// output three of the points of F(4, 3).
#pragma once
#include "convolution.h"

namespace engine {

constexpr int TILE = 4, WINDOW = 6, NUMBERS = WINDOW * WINDOW;

// Whether tiles are faster than convolution.cpp for `height` x `width` outputs. The result depends on the shape only,
// so that equal networks have equal bits on all processors.
bool pays_in_tiles(const Convolution& c, int height, int width);
// Same for the gradient of `height` x `width` inputs.
bool pays_back_in_tiles(const Convolution& c, int height, int width);

// Number of vectors of a packed kernel, and of the buffer `room` of the functions below.
size_t tiled_kernel(const Convolution& c);
size_t tiled_room(const Convolution& c);

// Writes the numbers of a kernel, [number][in][out]; for the backward pass rotated by 180 degrees, with inputs and
// outputs exchanged.
void pack_in_tiles(const Convolution& c, const real* kernel, bool back, V* packed);

// Same as the functions of convolution.h.
void convolve_in_tiles(const Convolution& c, const Map& x, const V* packed, const real* bias, const Map& y, V* room);
void convolve_back_in_tiles(const Convolution& c, const Map& dy, const V* packed, const Map& dx, V* room);
void kernel_gradient_in_tiles(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias,
                              V* room);

}  // namespace engine
