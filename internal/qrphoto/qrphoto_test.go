package qrphoto_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/client/qr"
	"github.com/seed-357fa782/licensed/internal/qrphoto"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// requestOf is the token of a request with a payload of some size that does not
// compress.
func requestOf(size int) string {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	noise := make([]byte, size)
	rng := rand.NewChaCha8(sha256.Sum256([]byte("a request")))
	_, _ = rng.Read(noise)
	b64 := base64.RawURLEncoding
	input := b64.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + "." + b64.EncodeToString([]byte(`{"jti":"`+b64.EncodeToString(noise)+`"}`))
	return input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
}

// The sizes of an activation and of a refresh: about 650 and 1350 characters.
var sizes = map[string]int{"activation": 330, "refresh": 790}

func codeOf(tb testing.TB, raw string, pixels int) *image.Gray {
	tb.Helper()
	var buf bytes.Buffer
	if err := qr.PNG(&buf, token.MarshalRequestFile(raw), pixels); err != nil {
		tb.Fatal(err)
	}
	img, err := png.Decode(&buf)
	if err != nil {
		tb.Fatal(err)
	}
	b := img.Bounds()
	g := image.NewGray(b)
	for y := range b.Dy() {
		for x := range b.Dx() {
			g.Set(x, y, img.At(x, y))
		}
	}
	return g
}

// warp draws img into a larger grey picture: f says which point of img stands at
// a point of it, both from -1 to 1.
func warp(img *image.Gray, scale float64, f func(x, y float64) (float64, float64)) *image.Gray {
	side := float64(img.Rect.Dx())
	n := int(side * scale)
	out := image.NewGray(image.Rect(0, 0, n, n))
	for y := range n {
		for x := range n {
			u, v := f((float64(x)/float64(n)*2-1)*scale, (float64(y)/float64(n)*2-1)*scale)
			out.Pix[y*out.Stride+x] = sample(img, (u+1)/2*side, (v+1)/2*side)
		}
	}
	return out
}

func sample(img *image.Gray, x, y float64) uint8 {
	at := func(x, y int) float64 {
		if x < 0 || y < 0 || x >= img.Rect.Dx() || y >= img.Rect.Dy() {
			return 120 // the desk
		}
		return float64(img.Pix[y*img.Stride+x])
	}
	x0, y0 := math.Floor(x), math.Floor(y)
	dx, dy, i, j := x-x0, y-y0, int(x0), int(y0)
	return uint8(at(i, j)*(1-dx)*(1-dy) + at(i+1, j)*dx*(1-dy) + at(i, j+1)*(1-dx)*dy + at(i+1, j+1)*dx*dy)
}

func rotate(img *image.Gray, degrees float64) *image.Gray {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return warp(img, 1.5, func(x, y float64) (float64, float64) { return x*cos - y*sin, x*sin + y*cos })
}

// perspective is a camera that looks from one side: how much shorter the far
// side is.
func perspective(img *image.Gray, tilt float64) *image.Gray {
	return warp(img, 1.3, func(x, y float64) (float64, float64) {
		w := 1 + tilt*x
		return x * 0.95 / w, y * 0.95 / w
	})
}

// blur takes the mean of a square with so many pixels to each side, twice.
func blur(img *image.Gray, r int) *image.Gray {
	for range 2 {
		out := image.NewGray(img.Rect)
		for y := range img.Rect.Dy() {
			for x := range img.Rect.Dx() {
				sum, n := 0, 0
				for v := max(0, y-r); v <= min(img.Rect.Dy()-1, y+r); v++ {
					for u := max(0, x-r); u <= min(img.Rect.Dx()-1, x+r); u++ {
						sum, n = sum+int(img.Pix[v*img.Stride+u]), n+1
					}
				}
				out.Pix[y*out.Stride+x] = uint8(sum / n)
			}
		}
		img = out
	}
	return img
}

func each(img *image.Gray, f func(x, y int, v uint8) float64) *image.Gray {
	out := image.NewGray(img.Rect)
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			out.Pix[y*out.Stride+x] = uint8(min(255, max(0, f(x, y, img.Pix[y*img.Stride+x]))))
		}
	}
	return out
}

func contrast(img *image.Gray, dark, light float64) *image.Gray {
	return each(img, func(_, _ int, v uint8) float64 { return dark + float64(v)/255*(light-dark) })
}

func noise(img *image.Gray, sigma float64) *image.Gray {
	rng := rand.New(rand.NewPCG(1, 2))
	return each(img, func(_, _ int, v uint8) float64 { return float64(v) + rng.NormFloat64()*sigma })
}

// glare is a bright spot in the middle, so wide as a part of the whole.
func glare(img *image.Gray, part float64) *image.Gray {
	w := float64(img.Rect.Dx())
	return each(img, func(x, y int, v uint8) float64 {
		if math.Hypot(float64(x)-w*0.6, float64(y)-w*0.6) < w*part/2 {
			return 255
		}
		return float64(v)
	})
}

func shade(img *image.Gray) *image.Gray {
	w := float64(img.Rect.Dx())
	return each(img, func(x, _ int, v uint8) float64 { return float64(v) * (0.25 + 0.75*float64(x)/w) })
}

func crop(img *image.Gray, part float64) *image.Gray {
	n := int(float64(img.Rect.Dx()) * part)
	return img.SubImage(image.Rect(0, 0, n, n)).(*image.Gray)
}

func asPNG(tb testing.TB, img image.Image) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func asJPEG(tb testing.TB, img image.Image, quality int) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// Photos are read as the very token that the code was made of, or refused with
// what to do. read: those that have to be read.
func TestRead(t *testing.T) {
	for op, size := range sizes {
		raw := requestOf(size)
		whole := codeOf(t, raw, 5)
		phone := image.NewGray(image.Rect(0, 0, 2600, 2000)) // the code fills a quarter of it
		for y := range whole.Rect.Dy() {
			copy(phone.Pix[(y+700)*phone.Stride+900:], whole.Pix[y*whole.Stride:][:whole.Rect.Dx()])
		}
		for _, photo := range []struct {
			name string
			read bool
			img  image.Image
		}{
			{"as made", true, whole},
			{"one pixel a module", true, codeOf(t, raw, 1)},
			{"two pixels a module", true, codeOf(t, raw, 2)},
			{"fourteen pixels a module", true, codeOf(t, raw, 14)},
			{"a phone's photo", true, noise(phone, 10)},
			{"a quarter turn", true, rotate(whole, 90)},
			{"turned by 7°", true, rotate(whole, 7)},
			{"turned by 30°", true, rotate(whole, 30)},
			{"upside down", true, rotate(whole, 180)},
			{"a little blurred", true, blur(whole, 1)},
			{"blurred", false, blur(whole, 2)},
			{"blurred beyond reading", false, blur(whole, 6)},
			{"low contrast", true, contrast(whole, 100, 140)},
			{"hardly any contrast", false, contrast(whole, 120, 126)},
			{"light on dark", true, contrast(whole, 255, 0)},
			{"in shade", true, shade(whole)},
			{"noise", true, noise(whole, 40)},
			{"much noise", false, noise(whole, 120)},
			{"a little from the side", true, perspective(whole, 0.06)},
			{"from the side", true, perspective(whole, 0.15)},
			{"from far to the side", false, perspective(whole, 0.5)},
			{"a spot of glare", false, glare(whole, 0.05)},
			{"much glare", false, glare(whole, 0.4)},
			{"the margin cut off", false, whole.SubImage(whole.Rect.Inset(5 * 4))},
			{"cut off", false, crop(whole, 0.9)},
			{"half", false, crop(whole, 0.5)},
			{"everything a little", true, noise(contrast(blur(rotate(whole, 4), 1), 60, 200), 8)},
			{"an empty picture", false, image.NewGray(image.Rect(0, 0, 300, 300))},
			{"one pixel", false, image.NewGray(image.Rect(0, 0, 1, 1))},
		} {
			if op == "activation" && !slices.Contains([]string{"as made", "turned by 7°", "from the side", "everything a little"}, photo.name) {
				continue // the larger code is the harder one
			}
			form, file := "JPEG", []byte(nil)
			if b := photo.img.Bounds(); b.Dx() > 300 && b.Dx() < 2000 {
				file = asJPEG(t, photo.img, 50)
			} else { // one pixel a module is lost in a JPEG
				form, file = "PNG", asPNG(t, photo.img)
			}
			t.Run(op+"/"+photo.name+"/"+form, func(t *testing.T) {
				text, err := qrphoto.Read(file)
				if err != nil {
					wantAdvice(t, err)
					if photo.read {
						t.Errorf("not read: %v", err)
					}
					return
				}
				if got, err := token.ParseRequestFile([]byte(text)); err != nil || got != raw {
					t.Errorf("read as something else: %v", err)
				}
			})
		}
	}
}

func wantAdvice(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*license.Error](err)
	if !ok || e.Reason != license.BadRequest || e.Field != "request" {
		t.Errorf("%v", err)
		return
	}
	for _, advice := range []string{"take it again from closer", "make it smaller", "save it as JPEG or PNG", "send it again as a file"} {
		if strings.Contains(e.Detail, advice) {
			return
		}
	}
	t.Errorf("no advice: %v", err)
}

func TestReadRefuses(t *testing.T) {
	whole := asPNG(t, codeOf(t, requestOf(100), 4))
	huge := bytes.Clone(whole)
	copy(huge[16:], []byte{0, 0, 0x20, 0, 0, 0, 0x20, 0}) // 8192 × 8192; the check sum of the header is wrong then
	for name, file := range map[string][]byte{
		"half a PNG": whole[:len(whole)/2], "a PNG's first bytes": whole[:8], "a JPEG that is none": []byte("\xff\xd8\xff\xe0 and more"),
		"a header that was changed": huge,
		"too many pixels":           asPNG(t, image.NewGray(image.Rect(0, 0, 10000, 5001))),
		"too large a file":          append(bytes.Clone(whole), make([]byte, qrphoto.MaxFile)...),
		"HEIC":                      []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), "WebP": []byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "GIF": []byte("GIF89a"),
		"PDF": []byte("%PDF-1.7"), "TIFF": []byte("II*\x00"), "AVIF": []byte("\x00\x00\x00\x18ftypavif"),
	} {
		if !qrphoto.Is(file) {
			t.Errorf("%s: it is an image", name)
		}
		text, err := qrphoto.Read(file)
		if err == nil {
			t.Errorf("%s: read as %q", name, text)
			continue
		}
		t.Log(name+":", err)
		wantAdvice(t, err)
	}
	for _, file := range []string{"", "LR1:", "-----BEGIN LICENSE REQUEST-----", "\ufeffx", "{}"} {
		if qrphoto.Is([]byte(file)) {
			t.Errorf("%q is no image", file)
		}
	}
}

// A code with colours of its own, half of it transparent.
func TestReadColours(t *testing.T) {
	raw := requestOf(100)
	code := codeOf(t, raw, 4)
	img := image.NewNRGBA(code.Rect)
	for y := range code.Rect.Dy() {
		for x := range code.Rect.Dx() {
			if code.GrayAt(x, y).Y < 128 {
				img.Set(x, y, color.NRGBA{0x10, 0x20, 0x80, 0xff})
			}
		}
	}
	text, err := qrphoto.Read(asPNG(t, img))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := token.ParseRequestFile([]byte(text)); err != nil || got != raw {
		t.Error(err)
	}
}

// FuzzRead: whatever is sent is read or refused with advice, and nothing panics.
func FuzzRead(f *testing.F) {
	for _, pixels := range []int{1, 2} {
		img := codeOf(f, requestOf(20), pixels)
		f.Add(asPNG(f, img))
		f.Add(asJPEG(f, img, 40))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 || !qrphoto.Is(data) {
			return
		}
		if cfg, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && cfg.Width*cfg.Height > 1<<20 {
			return
		}
		if _, err := qrphoto.Read(data); err != nil {
			wantAdvice(t, err)
		}
	})
}

// Limits are those of who reads, and what is wrong can be told apart.
func TestLimits(t *testing.T) {
	raw := requestOf(100)
	whole := codeOf(t, raw, 4)
	good, pixels := asPNG(t, whole), whole.Rect.Dx()*whole.Rect.Dy()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		late bool // there is no time left
		l    qrphoto.Limits
		file []byte
		want error
	}{
		"just so":          {false, qrphoto.Limits{File: len(good), Pixels: pixels}, good, nil},
		"a byte too long":  {false, qrphoto.Limits{File: len(good) - 1, Pixels: pixels}, good, qrphoto.ErrTooLarge},
		"a pixel too many": {false, qrphoto.Limits{File: len(good), Pixels: pixels - 1}, good, qrphoto.ErrTooLarge},
		"no limits":        {false, qrphoto.Limits{}, good, qrphoto.ErrTooLarge},
		"of a phone":       {false, qrphoto.Limits{File: 100, Pixels: 100}, []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), qrphoto.ErrFormat},
		"cut":              {false, qrphoto.Limits{File: len(good), Pixels: pixels}, good[:len(good)/2], qrphoto.ErrDamaged},
		"no code":          {false, qrphoto.Limits{File: 1 << 20, Pixels: 1 << 20}, asPNG(t, image.NewGray(image.Rect(0, 0, 99, 99))), qrphoto.ErrNoCode},
		"no time":          {true, qrphoto.Limits{File: len(good), Pixels: pixels}, good, qrphoto.ErrNoCode},
	} {
		ctx := t.Context()
		if c.late {
			ctx = ended
		}
		text, err := c.l.Read(ctx, c.file)
		if c.want != nil {
			if !errors.Is(err, c.want) || !errors.Is(err, license.BadRequest) || text != "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if got, perr := token.ParseRequestFile([]byte(text)); err != nil || perr != nil || got != raw {
			t.Errorf("%s: %v, %v", name, err, perr)
		}
	}
	if !qrphoto.Readable(good[:16]) || qrphoto.Readable([]byte("GIF89a")) {
		t.Error("what can be read is told wrongly")
	}
}

func BenchmarkNoCode(b *testing.B) {
	img := noise(image.NewGray(image.Rect(0, 0, 2000, 2000)), 120)
	file := asJPEG(b, img, 80)
	for b.Loop() {
		if _, err := qrphoto.Read(file); err == nil {
			b.Fatal("read")
		}
	}
}

// A picture that is full of what a code has at its corners would have the reader compare
// all threes of them for hours: it gives up. So it does with one that takes long to put
// together, when its time is over.
func TestPicturesMadeToTakeLong(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 1600, 1600))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for y := 0; y+28 < 1600; y += 28 {
		for x := 0; x+28 < 1600; x += 28 {
			module := 2 + (x/28+y/28)%2 // of several sizes, so that none confirms another
			for v := range 7 {
				for u := range 7 {
					edge, core := u == 0 || u == 6 || v == 0 || v == 6, u > 1 && u < 5 && v > 1 && v < 5
					if !edge && !core {
						continue
					}
					for dy := range module {
						for dx := range module {
							img.Pix[(y+v*module+dy)*img.Stride+x+u*module+dx] = 0
						}
					}
				}
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if _, err := qrphoto.Read(b.Bytes()); !errors.Is(err, qrphoto.ErrNoCode) {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (qrphoto.Limits{File: 1 << 20, Pixels: 4_000_000}).Read(ended, b.Bytes()); !errors.Is(err, qrphoto.ErrNoCode) || !errors.Is(err, context.Canceled) {
		t.Errorf("after its time: %v", err)
	}
}
