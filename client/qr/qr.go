// Package qr draws request files as QR codes, for a machine without a network
// whose user has a phone: on a terminal, or as a PNG image for a window of the
// product.
//
//	file, err := guard.Request(ctx, client.OpActivate, client.RequestOptions{Code: code})
//	err = qr.Terminal(os.Stdout, file, 80)
//
// What a phone reads from the code is the text form of the request
// (token.MarshalRequestText). The merchant's "licensectl sign" and POST
// /v1/requests take that text, and "licensectl sign" a photo of the code as well.
// The answer is a file all the same.
//
// It is a package of its own because it links a module that package client does
// without, github.com/boombuler/barcode, which itself needs only the standard
// library.
package qr

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// ErrTooLarge is found by errors.Is in the error for a request that no code can
// carry, or none that is as wide as there is room. The request can still be
// carried as the file that it is.
var ErrTooLarge = errors.New("the request is too large for a QR code")

// DefaultColumns is how wide a terminal is where nothing better is known, and
// DefaultPixels how many pixels a module of an image is wide and high.
const (
	DefaultColumns = 80
	DefaultPixels  = 8
)

const (
	// quiet is how many light modules stand around a code (ISO/IEC 18004), and
	// leastQuiet how many are enough where a terminal has no room for more: readers
	// need no more than two.
	quiet      = 4
	leastQuiet = 2
	// handy is the most modules on a side for which error correction is raised in
	// an image: version 25. Beyond it smaller modules cost a photo more than
	// correction gains it.
	handy = 117
	// maxPixels keeps an image below 64 million pixels.
	maxPixels = 43
)

// Terminal draws a request file on a terminal with so many columns (0:
// DefaultColumns), half a character a module, in black on white whatever the
// terminal's own colours are, by the sequences of ECMA-48 for 256 colours. The
// error correction is the highest that fits into the columns, or into 80 of more.
//
// An error with ErrTooLarge says that none fits, and nothing was written.
func Terminal(w io.Writer, file []byte, columns int) error {
	if columns <= 0 {
		columns = DefaultColumns
	}
	text, err := textOf(file)
	if err != nil {
		return err
	}
	code, err := encode(text, min(columns, DefaultColumns)-2*leastQuiet)
	if err != nil {
		return err
	}
	side := code.Bounds().Dx()
	if side+2*leastQuiet > columns {
		return license.FieldErrorf("request",
			"its QR code needs a terminal of %d columns, and this one has %d: make the window wider or its letters smaller, or use an image or the file",
			side+2*leastQuiet, columns).WithCause(ErrTooLarge)
	}
	_, err = w.Write(draw(code, min(quiet, (columns-side)/2)))
	return err
}

// PNG writes a request file as an image in the format PNG, black on white, with
// so many pixels for the side of a module (0: DefaultPixels; at most 43). The
// error correction is the highest at which the code has no more than 117 modules
// on a side.
//
// An error with ErrTooLarge says that no code can carry it, and nothing was
// written.
func PNG(w io.Writer, file []byte, pixels int) error {
	switch {
	case pixels == 0:
		pixels = DefaultPixels
	case pixels < 0 || pixels > maxPixels:
		return license.FieldErrorf("pixels", "a module has 1 to %d pixels", maxPixels)
	}
	text, err := textOf(file)
	if err != nil {
		return err
	}
	code, err := encode(text, handy)
	if err != nil {
		return err
	}
	return png.Encode(w, paint(code, pixels))
}

func textOf(file []byte) (string, error) {
	raw, err := token.ParseRequestFile(file)
	if err != nil {
		return "", err
	}
	return token.MarshalRequestText(raw)
}

// encode makes a code with the highest error correction at which it has no more
// than room modules on a side; where there is none, one of the smallest size,
// with the highest correction of that size.
func encode(text string, room int) (barcode.Barcode, error) {
	smallest, err := qr.Encode(text, qr.L, qr.AlphaNumeric)
	if err != nil {
		return nil, license.FieldErrorf("request", "it is too large for a QR code (%d characters): use the file", len(text)).WithCause(ErrTooLarge)
	}
	room = max(room, smallest.Bounds().Dx())
	for _, level := range []qr.ErrorCorrectionLevel{qr.H, qr.Q, qr.M} {
		if code, err := qr.Encode(text, level, qr.AlphaNumeric); err == nil && code.Bounds().Dx() <= room {
			return code, nil
		}
	}
	return smallest, nil
}

// dark reports whether a module is dark; those around the code are not.
func dark(code barcode.Barcode, x, y int) bool {
	if !(image.Point{X: x, Y: y}.In(code.Bounds())) {
		return false
	}
	return color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y < 0x80
}

// draw makes two rows of modules one line of characters. The two colours are of
// the fixed part of the 256, which themes of terminals leave alone.
func draw(code barcode.Barcode, margin int) []byte {
	const blackOnWhite, back = "\x1b[38;5;16;48;5;231m", "\x1b[0m\n"
	side := code.Bounds().Dx()
	var out bytes.Buffer
	for y := -margin; y < side+margin; y += 2 {
		out.WriteString(blackOnWhite)
		for x := -margin; x < side+margin; x++ {
			switch above, below := dark(code, x, y), dark(code, x, y+1); {
			case above && below:
				out.WriteString("█")
			case above:
				out.WriteString("▀")
			case below:
				out.WriteString("▄")
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteString(back)
	}
	return out.Bytes()
}

func paint(code barcode.Barcode, pixels int) image.Image {
	side := code.Bounds().Dx()
	whole := (side + 2*quiet) * pixels
	img := image.NewPaletted(image.Rect(0, 0, whole, whole), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if !dark(code, x, y) {
				continue
			}
			for dy := range pixels {
				at := img.PixOffset((x+quiet)*pixels, (y+quiet)*pixels+dy)
				for dx := range pixels {
					img.Pix[at+dx] = 1
				}
			}
		}
	}
	return img
}
