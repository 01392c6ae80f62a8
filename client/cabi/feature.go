//go:build cgo

package main

/*
#include "licensed.h"
*/
import "C"

import (
	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/cabi/internal/core"
)

// named is the name of the feature that a call is about, where its status is known and there is
// room for the result.
func named(code core.Code, name *C.char, room bool) (string, core.Code) {
	if code != core.OK {
		return "", code
	}
	n, ok := view(name)
	if !ok || !room {
		return "", core.ErrArgument
	}
	return n, core.OK
}

func feature(s *client.Status, code core.Code, name *C.char, on *C.int32_t) core.Code {
	n, code := named(code, name, on != nil)
	if code == core.OK {
		*on = truth(s.Feature(n))
	}
	return code
}

func featureNumber(s *client.Status, code core.Code, name *C.char, number *C.double) core.Code {
	n, code := named(code, name, number != nil)
	if code != core.OK {
		return code
	}
	value, ok := s.Value(n).Number()
	if !ok {
		return core.ErrNoValue
	}
	*number = C.double(value)
	return core.OK
}

func featureText(s *client.Status, code core.Code, name *C.char, to **C.char, length *C.size_t) error {
	if code != core.OK {
		return core.UnknownHandle()
	}
	if err := wanted("text", to); err != nil {
		return err
	}
	n, ok := view(name)
	if !ok {
		return core.Refuse("name", "it is NULL, or longer than 64 KiB")
	}
	value, err := core.Text(s.Value(n))
	if err != nil {
		return err
	}
	return give(to, length, value)
}
