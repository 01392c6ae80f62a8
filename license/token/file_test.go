package token_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func utf16File(s string, bigEndian bool) []byte {
	var b bytes.Buffer
	for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
		low, high := byte(u), byte(u>>8)
		if bigEndian {
			low, high = high, low
		}
		b.Write([]byte{low, high})
	}
	return b.Bytes()
}

func TestFileRoundTrip(t *testing.T) {
	want := token.File{
		Licenses: []string{licenseToken(), forge("next", header("next", licenseTyp), licensePayload())},
		KeySets:  []string{keySetToken()},
		Statuses: []string{forge("current", header("current", "statuslist+jwt"), "{}")},
		Times:    []string{forge("current", header("current", "license-time+jwt"), timePayload())},
	}
	data := want.Marshal()
	for name, input := range map[string][]byte{
		"as written": data, "UTF-16 LE": utf16File(string(data), false), "UTF-16 BE": utf16File(string(data), true),
	} {
		got, err := token.ParseFile(input)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	if got := (token.File{Licenses: []string{licenseToken()}}).Marshal(); string(got) != armor("LICENSE", licenseToken()) {
		t.Errorf("other bytes than RFC 7468 wants:\n%s", got)
	}
	var labels []string
	for line := range strings.Lines(string(data)) {
		if label, ok := strings.CutPrefix(line, "-----BEGIN "); ok {
			labels = append(labels, strings.TrimSuffix(label, "-----\n"))
		}
	}
	if diff := cmp.Diff([]string{"LICENSE", "LICENSE", "LICENSE KEYS", "LICENSE STATUS", "LICENSE TIME"}, labels); diff != "" {
		t.Errorf("order of blocks: %s", diff)
	}
}

func TestFileTooLong(t *testing.T) {
	_, err := token.ParseFile([]byte(licenseFile() + strings.Repeat("x", token.MaxFile)))
	wantReason(t, err, license.Damaged)
}

func TestRequestFile(t *testing.T) {
	raw := forge("install", requestHeader("install"), requestPayload("activate", ""))
	file := token.MarshalRequestFile(raw)
	for name, input := range map[string]string{
		"as written": string(file), "quoted": everyLine(string(file), "> ", ""), "among others": licenseFile() + string(file),
		"UTF-16": string(utf16File(string(file), false)),
	} {
		if got, err := token.ParseRequestFile([]byte(input)); err != nil || got != raw {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, input := range map[string]string{
		"empty": "", "two": string(file) + string(file), "a licence file": licenseFile(), "cut": string(file[:len(file)/2]),
		"too long": strings.Repeat("x", token.MaxFile+1),
	} {
		_, err := token.ParseRequestFile([]byte(input))
		wantReason(t, err, license.BadRequest)
		if e := new(license.Error); !errors.As(err, &e) || e.Field != "request" || name == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
