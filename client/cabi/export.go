//go:build cgo

package main

/*
#cgo CFLAGS: -DLICENSED_BUILD -std=c11 -Wall -Wextra
#include <stdlib.h>
#include "licensed.h"
*/
import "C"

import (
	"sync"
	"unsafe"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/cabi/internal/core"
	"github.com/seed-357fa782/licensed/license"
)

// version is the release, set by the linker.
var version = "devel"

// versionText is version for C. It stays for good.
var (
	versionText *C.char
	versionOnce sync.Once
)

//export capiVersion
func capiVersion() *C.char {
	versionOnce.Do(func() { versionText = newText(version) })
	return versionText
}

// answer calls a function, and hands its error out.
func answer(e **C.licensed_error, f func() error) C.licensed_code {
	err := core.Guarded(f)
	if err == nil {
		return C.LICENSED_OK
	}
	d := core.Describe(err)
	if e != nil {
		*e = newError(d)
	}
	return C.licensed_code(d.Code)
}

// quick calls a function that allocates nothing.
func quick(f func() core.Code) (code C.licensed_code) {
	defer func() {
		if r := recover(); r != nil {
			code = C.LICENSED_ERR_FAULT
		}
	}()
	return C.licensed_code(f())
}

// newBlock makes one block of a struct and texts behind it; place says where the struct has
// the texts. It is nil where there is no memory.
func newBlock[T any](place func(*T) []**C.char, texts ...string) *T {
	size := unsafe.Sizeof(*new(T))
	for _, s := range texts {
		size += uintptr(len(s)) + 1
	}
	block := C.calloc(1, C.size_t(size))
	if block == nil {
		return nil
	}
	rest := unsafe.Slice((*byte)(block), size)[unsafe.Sizeof(*new(T)):]
	for i, to := range place((*T)(block)) {
		*to = (*C.char)(unsafe.Pointer(&rest[0]))
		rest = rest[copy(rest, texts[i])+1:]
	}
	return (*T)(block)
}

// newError makes one block of a description, nil where there is no memory.
func newError(d core.Description) *C.licensed_error {
	e := newBlock(func(e *C.licensed_error) []**C.char {
		return []**C.char{&e.reason, &e.detail, &e.field, &e.log}
	}, d.Reason, d.Detail, d.Field, d.Log)
	if e != nil {
		e.size, e.code, e.retry_after = C.size_t(unsafe.Sizeof(*e)), C.licensed_code(d.Code), C.int64_t(d.RetryAfter)
	}
	return e
}

// newEvent makes one block of an event, nil where there is no memory.
func newEvent(from client.Event) *C.licensed_event {
	var why core.Description
	if from.Err != nil {
		why = core.Describe(from.Err)
	}
	e := newBlock(func(e *C.licensed_event) []**C.char {
		return []**C.char{&e.reason, &e.text, &e.log}
	}, why.Reason, from.String(), why.Log)
	if e != nil {
		e.size, e.kind, e.missed = C.size_t(unsafe.Sizeof(*e)), C.int32_t(core.KindOf(from.Kind)), C.int32_t(from.Missed)
		e.at, e.code = C.int64_t(core.Instant(from.At)), C.licensed_code(why.Code)
	}
	return e
}

// newText makes a block of a text, which ends with NUL; nil where there is no memory.
// C.CString would end the process then, and so would C.malloc.
func newText(text string) *C.char {
	block := (*C.char)(C.calloc(1, C.size_t(len(text))+1))
	if block != nil {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(block)), len(text)), text)
	}
	return block
}

// give hands a text out.
func give(to **C.char, length *C.size_t, text string) error {
	block := newText(text)
	if block == nil {
		return &core.Failure{Code: core.ErrMemory, Detail: "there is not enough memory"}
	}
	*to = block
	if length != nil {
		*length = C.size_t(len(text))
	}
	return nil
}

// wanted refuses a result that has no place to go to.
func wanted[T any](name string, result *T) error {
	if result == nil {
		return core.Refuse(name, "the place for the result is NULL")
	}
	return nil
}

// view is a text of the caller, without a copy; ok is false where it is NULL or too long.
func view(s *C.char) (text string, ok bool) {
	if s == nil {
		return "", false
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(s), n)) != 0 {
		if n++; n > core.MaxText {
			return "", false
		}
	}
	return unsafe.String((*byte)(unsafe.Pointer(s)), n), true
}

// text is a copy of a text of the caller, "" for NULL.
func text(name string, s *C.char) (string, error) {
	if s == nil {
		return "", nil
	}
	v, ok := view(s)
	if !ok {
		return "", core.Refuse(name, "it is longer than 64 KiB")
	}
	return string([]byte(v)), core.CheckText(name, v)
}

// fileOf is a copy of a file of the caller.
func fileOf(data unsafe.Pointer, length C.size_t) ([]byte, error) {
	switch {
	case data == nil:
		return nil, core.Refuse("file", "no file is given")
	case length > core.MaxFile:
		return nil, license.Errorf(license.Damaged, "a licence file is not longer than %d bytes", core.MaxFile)
	}
	return C.GoBytes(data, C.int(length)), nil
}

// optionsOf reads options. What a newer program may have added counts only where it is 0.
func optionsOf(from *C.licensed_options) (o core.Options, err error) {
	if from == nil {
		return o, core.Refuse("options", "none are given")
	}
	const most = 4096 // what a struct can grow to
	own := unsafe.Sizeof(*from)
	if from.size < C.size_t(own) || from.size > most {
		return o, core.Refuse("options", "their size is not sizeof(licensed_options)")
	}
	for _, b := range unsafe.Slice((*byte)(unsafe.Pointer(from)), from.size)[own:] {
		if b != 0 {
			return o, core.Refuse("options", "a newer member is set that this library does not know")
		}
	}
	if from.reserved != 0 {
		return o, core.Refuse("options", "reserved is not 0")
	}
	for _, f := range []struct {
		name string
		to   *string
		from *C.char
	}{
		{"anchors", &o.Anchors, from.anchors},
		{"product", &o.Product, from.product},
		{"issuer", &o.Issuer, from.issuer},
		{"keys", &o.Keys, from.keys},
		{"server", &o.Server, from.server},
		{"state_dir", &o.StateDir, from.state_dir},
		{"code", &o.Code, from.code},
		{"instance", &o.Instance, from.instance},
		{"ca_file", &o.CAFile, from.ca_file},
	} {
		if *f.to, err = text(f.name, f.from); err != nil {
			return o, err
		}
	}
	o.TimeoutMS, o.BuildTime, o.Flags = int64(from.timeout_ms), int64(from.build_time), uint32(from.flags)
	return o, nil
}

// show fills in as much of a status as the caller has room for.
func show(to *C.licensed_status, s *client.Status) core.Code {
	if !hasRoom(to) {
		return core.ErrArgument
	}
	size, full := to.size, unsafe.Sizeof(*to)
	*to = C.licensed_status{
		size: size, usable: truth(s.Usable), phase: C.int32_t(core.PhaseOf(s.Phase)), reason: C.licensed_code(core.CodeOfReason(s.Reason)),
		state: C.int32_t(core.StateOf(s.State)), enforcement: C.int32_t(core.EnforcementOf(s.Enforcement)),
		clock: C.int32_t(core.ClockOf(s.Clock)), refresh_due: truth(s.RefreshDue()),
		at: C.int64_t(core.Instant(s.At)), not_before: C.int64_t(core.Instant(s.NotBefore)), warn_at: C.int64_t(core.Instant(s.WarnAt)),
		expires_at: C.int64_t(core.Instant(s.ExpiresAt)), block_at: C.int64_t(core.Instant(s.BlockAt)),
		refresh_after: C.int64_t(core.Instant(s.RefreshAfter)), lease_until: C.int64_t(core.Instant(s.LeaseUntil)),
		listed_at: C.int64_t(core.Instant(s.ListedAt)),
	}
	clear(unsafe.Slice((*byte)(unsafe.Pointer(to)), size)[full:])
	return core.OK
}

// hasRoom reports whether a status can be filled in.
func hasRoom(to *C.licensed_status) bool {
	const most = 4096 // what a struct can grow to
	return to != nil && to.size >= C.size_t(unsafe.Sizeof(*to)) && to.size <= most
}

func truth(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}

//export capiClose
func capiClose(handle C.uint64_t) C.licensed_code {
	return quick(func() core.Code { return core.Close(uint64(handle)) })
}
