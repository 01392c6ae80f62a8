package license

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxDevice is the longest identification of a device that is looked at, in
// bytes. The marketplace's own client may produce as much (access guide …649268),
// though the field of the callback is said to hold 1024 characters (…649255).
const MaxDevice = 5120

// Device is how a marketplace names the machine that a licence is for: the
// string MAC|DISK|BOARD|CPU that its client made (access guide …649268), or an
// opaque hardware code that a person typed. It is personal data, and prints as
// what form it has.
type Device struct {
	text  string
	parts [4]string // of the string form
	isSet bool      // of the string form
}

// deviceKinds are the kinds of the parts of the string form, in their order.
var deviceKinds = [4]Kind{KindMAC, KindDisk, KindBoard, KindCPU}

// ParseDevice reads what identifies a device. What has three bars and something
// beside them is the string form; all else is an opaque code, of which blanks do
// not count. It fails with BadRequest, field "device", on what is empty, longer
// than MaxDevice, no text, or holds control characters.
func ParseDevice(s string) (Device, error) {
	text := strings.TrimSpace(s)
	switch {
	case len(s) > MaxDevice:
		return Device{}, FieldErrorf("device", "the device's identification is longer than %d bytes", MaxDevice)
	case !utf8.ValidString(s) || strings.ContainsFunc(text, unicode.IsControl):
		return Device{}, FieldErrorf("device", "the device's identification is not plain text")
	case strings.Trim(text, "| ,") == "":
		return Device{}, FieldErrorf("device", "the device's identification is empty")
	}
	d := Device{text: text}
	if parts := strings.Split(text, "|"); len(parts) == len(d.parts) {
		copy(d.parts[:], parts)
		d.isSet = true
	}
	return d, nil
}

// Reveal returns the text as it was given, blanks at both ends cut.
func (d Device) Reveal() string { return d.text }

// IsZero reports whether there is no device.
func (d Device) IsZero() bool { return d.text == "" }

// String says what form it has, and nothing of what it says.
func (d Device) String() string {
	switch {
	case d.IsZero():
		return "no device"
	case d.isSet:
		return "a device fingerprint"
	}
	return "a hardware code"
}

// GoString hides the device from %#v.
func (d Device) GoString() string { return "license.Device(" + d.String() + ")" }

// Fingerprint returns the digests that stand for the device: those of its
// components where it has the string form, and of the whole as an
// identification code unless it shows a processor and placeholders only, which
// many machines share.
func (d Device) Fingerprint(salt []byte) Fingerprint {
	fp := Fingerprint{Salt: salt, Components: Components{}}
	for kind, values := range d.Values() {
		for _, value := range values {
			if digest, ok := DigestValue(salt, kind, value); ok {
				fp.Components[kind] = append(fp.Components[kind], digest)
			}
		}
	}
	fp.Components = fp.Components.Normalize()
	if !d.isSet || len(fp.Components[KindMAC])+len(fp.Components[KindDisk])+len(fp.Components[KindBoard]) > 0 {
		fp.Code, _ = DigestCode(salt, d.text)
	}
	return fp
}

// Values returns what the string form says of the machine, by kind, in the form
// that NormalizeValue gives it and without placeholders, which say nothing. It is
// nil for an opaque code.
func (d Device) Values() map[Kind][]string {
	if !d.isSet {
		return nil
	}
	out := make(map[Kind][]string)
	for i, kind := range deviceKinds {
		for value := range strings.SplitSeq(d.parts[i], ",") {
			if kind == KindMAC {
				value = colons(value)
			}
			if normal, ok := NormalizeValue(value); ok && !Placeholder(kind, normal) {
				out[kind] = append(out[kind], normal)
			}
		}
	}
	return out
}

// DigestCode returns the digest of an identification code, as it was typed or
// pasted: blanks do not count, and the two characters that separate the parts of
// the string form, which would make a value absent (DigestValue), stand for "/"
// and ";". ok is false where nothing is left.
func DigestCode(salt []byte, code string) (d Digest, ok bool) {
	return DigestValue(salt, KindCode, strings.NewReplacer("|", "/", ",", ";").Replace(code))
}

// colons writes a network address as the marketplace's client does, whatever
// else separates its bytes.
func colons(mac string) string {
	mac = strings.TrimSpace(mac)
	if len(mac) == len("00-00-00-00-00-00") {
		return strings.ReplaceAll(mac, "-", ":")
	}
	return mac
}

// BindDevice ties a licence to a device under policy p. It binds what the string
// form shows where that is enough to recognise the device by (Bind), so that it
// stays the same when a part of it is exchanged, and else the whole as an
// identification code.
func BindDevice(p Policy, fp Fingerprint) (Binding, error) {
	if p == PolicyNone {
		return Binding{Policy: p}, nil
	}
	parts := fp
	parts.Code = ""
	if b, err := Bind(p, parts); err == nil {
		return b, nil
	}
	return Bind(p, Fingerprint{Salt: fp.Salt, Code: fp.Code})
}
