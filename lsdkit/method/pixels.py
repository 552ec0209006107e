"""Colour jitter pixel by pixel, compiled: the operations of `lsdkit.method.colours` on a CPU.

Each loop does what the torch function of its name does, fused multiplications included (`_fma`): to the bit where torch
fuses them, as with AVX2 and AVX512, elsewhere to rounding. One image after the other stays in a core's cache, and no
thread of Python waits meanwhile: the loops hold no lock. Compiled once on a machine, in seconds, and kept.
"""

from numba.core import types
from numba.extending import intrinsic
from numpy import copysign, float32

from lsdkit.common.compiling import compiled

ZERO, HALF, ONE, THREE = map(float32, (0, 0.5, 1, 3))
AT_BRIGHTNESS, AT_CONTRAST, AT_SATURATION = range(3)  # columns of a draw; the fourth is hue's


@intrinsic
def _fma(context, a, b, c):
    """a * b + c, rounded once, as processors multiply and add in one instruction."""
    return types.float32(a, b, c), lambda context, builder, signature, values: builder.fma(*values)


@compiled
def before_contrast(images, factors, order, shifts, luma):
    """Apply to each image what its order has before contrast; in place.

    images: (B, 3, P) float32, P pixels. factors, order: (B, 4) of a `colours.Jitter`. shifts: (B, 3), `shift_hue`.
    luma: (3,), the shares of red, green and blue in grey.
    """
    for number in range(len(images)):
        for operation in order[number]:
            if operation == AT_CONTRAST:
                break
            _apply(images[number], operation, factors[number, operation], shifts[number], luma)


@compiled
def from_contrast_on(images, factors, order, shifts, luma, means):
    """Apply to each image contrast, about its mean grey (B,), and what its order has after it; in place."""
    for number in range(len(images)):
        reached = False
        for operation in order[number]:
            factor = factors[number, operation]
            if operation == AT_CONTRAST:
                reached = True
                _contrast(images[number], factor, means[number])
            elif reached:
                _apply(images[number], operation, factor, shifts[number], luma)


@compiled
def _apply(image, operation, factor, shift, luma):
    if operation == AT_BRIGHTNESS:
        _brightness(image, factor)
    elif operation == AT_SATURATION:
        _saturation(image, factor, luma)
    else:
        _hue(image, shift)


@compiled
def _brightness(image, factor):
    for channel in image:
        for p in range(len(channel)):
            channel[p] = _clamp(channel[p] * factor)


@compiled
def _contrast(image, factor, mean):
    for channel in image:
        for p in range(len(channel)):
            channel[p] = _clamp(_lerp(mean, channel[p], factor))


@compiled
def _saturation(image, factor, luma):
    red, green, blue = image
    for p in range(len(red)):
        grey = _fma(blue[p], luma[2], _fma(green[p], luma[1], luma[0] * red[p]))
        red[p] = _clamp(_lerp(grey, red[p], factor))
        green[p] = _clamp(_lerp(grey, green[p], factor))
        blue[p] = _clamp(_lerp(grey, blue[p], factor))


@compiled
def _hue(image, shift):
    red, green, blue = image
    for p in range(len(red)):
        high = max(max(red[p], green[p]), blue[p])
        low = min(min(red[p], green[p]), blue[p])
        c = high - low
        hc = copysign(c + green[p] + blue[p] - red[p] - low, green[p] - blue[p])
        red[p] = _turn(hc, c, shift[0]) + low
        green[p] = _turn(hc, c, shift[1]) + low
        blue[p] = _turn(hc, c, shift[2]) + low


@compiled
def _turn(hc, c, shift):
    """A channel above its pixel's lowest one."""
    return min(max(abs(_fma(-THREE, c, abs(_fma(shift, c, hc)))) - c, ZERO), c)


@compiled
def _lerp(start, end, weight):
    """Between start and end, or beyond them, from the nearer of the two."""
    return _fma(weight, end - start, start) if abs(weight) < HALF else _fma(weight - ONE, end - start, end)


@compiled
def _clamp(value):
    return min(max(value, ZERO), ONE)
