// Package qrphoto reads the QR code in a photo or a screenshot. It is not for
// what customers link: the reader's library brings tables of characters along.
package qrphoto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the formats that phones and screenshots have
	_ "image/png"
	"io"
	"math"
	"slices"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/seed-357fa782/licensed/license"
)

// The largest image that is read, as a file and in pixels. A phone's photo has
// up to 50 million.
const (
	MaxFile   = 32 << 20
	MaxPixels = 50_000_000
)

// Limits bound what is read of an image: a file in bytes, and its pixels. Neither may
// be above MaxFile and MaxPixels.
type Limits struct{ File, Pixels int }

// What is wrong with an image, as errors.Is tells.
var (
	ErrTooLarge = errors.New("the image is too large")
	ErrFormat   = errors.New("the image is of a format that cannot be read")
	ErrDamaged  = errors.New("the image is damaged")
	ErrNoCode   = errors.New("there is no code in the image")
)

// Is reports whether data is an image, by how it begins, be it of a kind that
// Read reads or of another one that phones and scanners make.
func Is(data []byte) bool { return kindOf(data) != "" }

const (
	kindPNG  = "PNG"
	kindJPEG = "JPEG"
)

func kindOf(data []byte) string {
	at := func(i int, s string) bool { return len(data) >= i+len(s) && string(data[i:i+len(s)]) == s }
	switch {
	case at(0, "\x89PNG\r\n\x1a\n"):
		return kindPNG
	case at(0, "\xff\xd8\xff"):
		return kindJPEG
	case at(4, "ftyphei"), at(4, "ftypmif1"), at(4, "ftyphev"), at(4, "ftypmsf1"):
		return "HEIC"
	case at(4, "ftypavi"):
		return "AVIF"
	case at(0, "RIFF") && at(8, "WEBP"):
		return "WebP"
	case at(0, "GIF8"):
		return "GIF"
	case at(0, "%PDF-"):
		return "PDF"
	case at(0, "II*\x00"), at(0, "MM\x00*"):
		return "TIFF"
	}
	return ""
}

// whatHelps is for who took the photo.
const whatHelps = "take it again from closer, straight from the front, with the whole code sharp and without glare; " +
	"or send the text that a phone's scanner shows, or the request file"

// Readable reports whether an image, by how it begins, is of a kind that Read reads.
func Readable(data []byte) bool {
	kind := kindOf(data)
	return kind == kindPNG || kind == kindJPEG
}

// Read returns the text of the QR code in an image. What is wrong is BadRequest,
// field "request", and says what to do. A code that is read was read in full: its
// error correction mends it or fails.
func Read(data []byte) (string, error) {
	return Limits{File: MaxFile, Pixels: MaxPixels}.Read(context.Background(), data)
}

// Read is the function Read within limits. It looks for a code until ctx ends; that
// then is ErrNoCode too.
func (l Limits) Read(ctx context.Context, data []byte) (string, error) {
	l.File, l.Pixels = min(l.File, MaxFile), min(l.Pixels, MaxPixels)
	switch {
	case len(data) > l.File:
		return "", license.FieldErrorf("request", "the photo is larger than %d MiB; make it smaller, or cut it down to the code", l.File>>20).WithCause(ErrTooLarge)
	case !Readable(data):
		return "", license.FieldErrorf("request", "a photo in the format %s cannot be read here: save it as JPEG or PNG, or send the text that a phone's scanner shows",
			kindOf(data)).WithCause(ErrFormat)
	}
	size, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return "", damaged(err)
	}
	if size.Width <= 0 || size.Height <= 0 || size.Width > l.Pixels/size.Height {
		return "", license.FieldErrorf("request", "the photo has %d × %d pixels, more than %d million; make it smaller, or cut it down to the code",
			size.Width, size.Height, l.Pixels/1_000_000).WithCause(ErrTooLarge)
	}
	img, _, err := image.Decode(&until{ctx, bytes.NewReader(data)})
	if ctx.Err() != nil {
		return "", license.FieldErrorf("request", "no QR code can be read in the photo: %s", whatHelps).WithCause(errors.Join(ErrNoCode, ctx.Err()))
	}
	if err != nil {
		return "", damaged(err)
	}
	text, err := search(ctx, grey(img))
	if err != nil {
		return "", license.FieldErrorf("request", "no QR code can be read in the photo: %s", whatHelps).WithCause(errors.Join(ErrNoCode, err))
	}
	return text, nil
}

// until reads until ctx ends: a small file can hold a picture that takes minutes to
// put together.
type until struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to be told
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

func damaged(err error) error {
	return license.FieldErrorf("request", "the photo is damaged, or some of it is missing; send it again as a file").WithCause(errors.Join(ErrDamaged, err))
}

// sides are how long the longer side of an image is made at most: where a photo
// has more pixels than a code needs, their noise hides it.
var sides = []int{1600, 1000, 2400, 4000}

// search looks for a code in an image at several sizes, by both ways of telling
// dark from light, light on dark too, and at the first size as if the photo had
// been taken from a side.
func search(ctx context.Context, img *image.Gray) (text string, err error) {
	longer := max(img.Rect.Dx(), img.Rect.Dy())
	var tried []int
	for _, side := range sides {
		n := (longer + side - 1) / side
		if slices.Contains(tried, n) {
			continue
		}
		tried = append(tried, n)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		small := shrink(img, n)
		for _, inverted := range []bool{false, true} {
			if text, err = decode(ctx, small, inverted); err == nil {
				return text, nil
			}
		}
		if len(tried) > 1 {
			continue
		}
		for _, tilt := range tilts {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if text, err = decode(ctx, straighten(small, tilt[0], tilt[1]), false); err == nil {
				return text, nil
			}
		}
	}
	return "", err
}

// tilts are the ways in which a photo is straightened: by how much the picture
// shrinks from its middle to the right edge and to the lower one.
var tilts = [][2]float64{
	{0.05, 0},
	{-0.05, 0},
	{0, 0.05},
	{0, -0.05},
	{0.1, 0},
	{-0.1, 0},
	{0, 0.1},
	{0, -0.1},
	{0.16, 0},
	{-0.16, 0},
	{0, 0.16},
	{0, -0.16},
}

// straighten undoes a view from the side, as far as one can guess: the reader
// takes the lines between the corners of a large code for parallel.
func straighten(img *image.Gray, right, down float64) *image.Gray {
	w, h := float64(img.Rect.Dx()), float64(img.Rect.Dy())
	grow := 1 / (1 - math.Abs(right) - math.Abs(down))
	out := image.NewGray(image.Rect(0, 0, img.Rect.Dx(), img.Rect.Dy()))
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			u, v := (float64(x)/w*2-1)*grow, (float64(y)/h*2-1)*grow
			depth := 1 + right*u + down*v
			out.Pix[y*out.Stride+x] = between(img, (u/depth+1)/2*w, (v/depth+1)/2*h)
		}
	}
	return out
}

// between is how light an image is at a point between its pixels, and white
// outside.
func between(img *image.Gray, x, y float64) uint8 {
	i, j := int(math.Floor(x)), int(math.Floor(y))
	if i < 0 || j < 0 || i+1 >= img.Rect.Dx() || j+1 >= img.Rect.Dy() {
		return 255
	}
	row := img.Pix[j*img.Stride+i:]
	next := img.Pix[(j+1)*img.Stride+i:]
	dx, dy := x-float64(i), y-float64(j)
	return uint8((float64(row[0])*(1-dx)+float64(row[1])*dx)*(1-dy) + (float64(next[0])*(1-dx)+float64(next[1])*dx)*dy)
}

// mostPatterns is how many corners of codes are looked at in an image: the reader
// compares all threes of them, which a picture full of them would have it do for hours.
const mostPatterns = 400

// decode tries every way on one image, until ctx ends.
func decode(ctx context.Context, img *image.Gray, inverted bool) (text string, err error) {
	source := gozxing.NewLuminanceSourceFromImage(img)
	if inverted {
		source = source.Invert()
	}
	for _, binarizer := range []gozxing.Binarizer{gozxing.NewHybridBinarizer(source), gozxing.NewGlobalHistgramBinarizer(source)} {
		for _, hint := range []gozxing.DecodeHintType{gozxing.DecodeHintType_TRY_HARDER, gozxing.DecodeHintType_PURE_BARCODE} {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if text, err = try(ctx, binarizer, hint); err == nil {
				return text, nil
			}
		}
	}
	return "", err
}

// try tries one way. The library is not ours, and is given what anybody sends: that it
// panics is no code found. It can be stopped in no other way either.
func try(ctx context.Context, binarizer gozxing.Binarizer, hint gozxing.DecodeHintType) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = "", fmt.Errorf("the reader gave up: %v", p)
		}
	}()
	bitmap, err := gozxing.NewBinaryBitmap(binarizer)
	if err != nil {
		return "", err
	}
	patterns := 0
	found, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{
		hint: true,
		gozxing.DecodeHintType_NEED_RESULT_POINT_CALLBACK: gozxing.ResultPointCallback(func(gozxing.ResultPoint) {
			if patterns++; patterns > mostPatterns || ctx.Err() != nil {
				panic("too many corners, or too late")
			}
		}),
	})
	if err != nil {
		return "", err
	}
	return found.GetText(), nil
}

// grey keeps how light an image is; what is transparent is white.
func grey(img image.Image) *image.Gray {
	b := img.Bounds()
	out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	if y, ok := img.(*image.YCbCr); ok {
		for row := range b.Dy() {
			copy(out.Pix[row*out.Stride:][:b.Dx()], y.Y[y.YOffset(b.Min.X, b.Min.Y+row):])
		}
		return out
	}
	for row := range b.Dy() {
		for col := range b.Dx() {
			r, g, bl, a := img.At(b.Min.X+col, b.Min.Y+row).RGBA()
			out.Pix[row*out.Stride+col] = uint8((299*r+587*g+114*bl)/1000>>8 + (0xffff-a)>>8)
		}
	}
	return out
}

// shrink makes of each square of n by n pixels one, the mean of them.
func shrink(img *image.Gray, n int) *image.Gray {
	if n <= 1 {
		return img
	}
	w, h := img.Rect.Dx()/n, img.Rect.Dy()/n
	out := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			sum := 0
			for dy := range n {
				for _, v := range img.Pix[(y*n+dy)*img.Stride+x*n:][:n] {
					sum += int(v)
				}
			}
			out.Pix[y*out.Stride+x] = uint8(sum / (n * n))
		}
	}
	return out
}
