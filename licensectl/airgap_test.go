package main

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-357fa782/licensed/internal/qrphoto"
	"github.com/seed-357fa782/licensed/license/token"
)

// between is what a person between two machines does to a file: COMMAND IN OUT.
func between(what func(ts *testscript.TestScript, in []byte) []byte) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: COMMAND IN OUT")
		}
		out := what(ts, []byte(ts.ReadFile(args[0])))
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o600))
	}
}

// sameAnswer compares two licence files but for the status lists, of which the
// second may be a newer one.
func sameAnswer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same-answer FILE FILE")
	}
	var files [2]token.File
	for i, name := range args {
		f, err := token.ParseFile([]byte(ts.ReadFile(name)))
		ts.Check(err)
		f.Statuses = nil
		files[i] = f
	}
	if diff := cmp.Diff(files[0], files[1]); diff != "" {
		ts.Fatalf("%s and %s differ: %s", args[0], args[1], diff)
	}
}

// half loses the second half.
func half(_ *testscript.TestScript, in []byte) []byte { return in[:len(in)/2] }

// scan reads a code from a terminal, as a phone does.
func scan(ts *testscript.TestScript, drawn []byte) []byte {
	lines := strings.Split(strings.TrimSuffix(string(drawn), "\n"), "\n")
	const size = 4 // pixels of a module
	img := image.NewGray(image.Rect(0, 0, 120*size, len(lines)*2*size))
	for y, line := range lines {
		line, _ = strings.CutPrefix(line, "\x1b[38;5;16;48;5;231m")
		line, ok := strings.CutSuffix(line, "\x1b[0m")
		if !ok {
			ts.Fatalf("line %d was not drawn: %q", y, line)
		}
		for x, c := range []rune(line) {
			upper, lower := c == '█' || c == '▀', c == '█' || c == '▄'
			for i := range 2 * size * size {
				if dark := i < size*size && upper || i >= size*size && lower; !dark {
					img.SetGray(x*size+i%size, y*2*size+i/size, color.Gray{Y: 255})
				}
			}
		}
	}
	var buf bytes.Buffer
	ts.Check(png.Encode(&buf, img))
	text, err := qrphoto.Read(buf.Bytes())
	ts.Check(err)
	return []byte(text + "\n")
}

// mail wraps and quotes a text among others.
func mail(_ *testscript.TestScript, text []byte) []byte {
	var out strings.Builder
	out.WriteString("\ufeffDear support,\r\n\r\nthis is what my phone shows:\r\n\r\n")
	for rest := strings.TrimSpace(string(text)); rest != ""; {
		n := min(len(rest), 76)
		out.WriteString("> " + rest[:n] + "\u00a0\r\n")
		rest = rest[n:]
	}
	out.WriteString("\r\nRegards: a user\r\n")
	return []byte(out.String())
}

// photo is a picture of a code that lies on a desk in uneven light.
func photo(ts *testscript.TestScript, in []byte) []byte {
	code, err := png.Decode(bytes.NewReader(in))
	ts.Check(err)
	b := code.Bounds()
	img := image.NewGray(image.Rect(0, 0, b.Dx()*3/2, b.Dy()*3/2))
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			v := color.Gray{Y: 110}
			if at := image.Pt(x-b.Dx()/4-y/20, y-b.Dy()/4+x/20); at.In(b) { // turned a little
				v = color.GrayModel.Convert(code.At(at.X, at.Y)).(color.Gray)
			}
			light := 60 + 40*x/img.Rect.Dx()
			img.SetGray(x, y, color.Gray{Y: uint8((40 + int(v.Y)*4/5) * light / 100)})
		}
	}
	var buf bytes.Buffer
	ts.Check(jpeg.Encode(&buf, img, &jpeg.Options{Quality: 50}))
	return buf.Bytes()
}

// blur is a picture that nobody can read.
func blur(ts *testscript.TestScript, in []byte) []byte {
	code, err := png.Decode(bytes.NewReader(in))
	ts.Check(err)
	b := code.Bounds()
	const n = 20 // pixels, of which a module has 8
	img := image.NewGray(image.Rect(0, 0, b.Dx()/n, b.Dy()/n))
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			sum := 0
			for i := range n * n {
				sum += int(color.GrayModel.Convert(code.At(x*n+i%n, y*n+i/n)).(color.Gray).Y)
			}
			img.SetGray(x, y, color.Gray{Y: uint8(sum / (n * n))})
		}
	}
	var buf bytes.Buffer
	ts.Check(jpeg.Encode(&buf, img, nil))
	return buf.Bytes()
}
