//go:build cgo

package main

/*
#include "licensed.h"
*/
import "C"

import (
	"unsafe"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/cabi/internal/core"
)

//export capiOpen
func capiOpen(options *C.licensed_options, guard *C.licensed_guard, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		if err := wanted("guard", guard); err != nil {
			return err
		}
		o, err := optionsOf(options)
		if err != nil {
			return err
		}
		handle, err := core.Open(o)
		*guard = C.licensed_guard(handle)
		return err
	})
}

//export capiCheck
func capiCheck(guard C.licensed_guard, status *C.licensed_status) C.licensed_code {
	return quick(func() core.Code {
		s, code := core.StatusOf(uint64(guard))
		if code != core.OK {
			return code
		}
		return show(status, &s)
	})
}

//export capiFeature
func capiFeature(guard C.licensed_guard, name *C.char, on *C.int32_t) C.licensed_code {
	return quick(func() core.Code {
		s, code := core.StatusOf(uint64(guard))
		return feature(&s, code, name, on)
	})
}

//export capiFeatureNumber
func capiFeatureNumber(guard C.licensed_guard, name *C.char, number *C.double) C.licensed_code {
	return quick(func() core.Code {
		s, code := core.StatusOf(uint64(guard))
		return featureNumber(&s, code, name, number)
	})
}

//export capiFeatureText
func capiFeatureText(guard C.licensed_guard, name *C.char, to **C.char, length *C.size_t, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		s, code := core.StatusOf(uint64(guard))
		return featureText(&s, code, name, to, length)
	})
}

// texts makes a call whose result is a text of a guard.
func texts(guard C.licensed_guard, to **C.char, length *C.size_t, e **C.licensed_error, f func(*client.Guard) (string, error)) C.licensed_code {
	return answer(e, func() error {
		return core.With(uint64(guard), func(g *client.Guard) error {
			if err := wanted("text", to); err != nil {
				return err
			}
			s, err := f(g)
			if err != nil {
				return err
			}
			return give(to, length, s)
		})
	})
}

//export capiStatusJSON
func capiStatusJSON(guard C.licensed_guard, to **C.char, e **C.licensed_error) C.licensed_code {
	return texts(guard, to, nil, e, core.GuardJSON)
}

//export capiNextEvent
func capiNextEvent(guard C.licensed_guard, timeoutMS C.int64_t, event **C.licensed_event, status *C.licensed_status, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		return core.With(uint64(guard), func(g *client.Guard) error {
			if err := wanted("event", event); err != nil {
				return err
			}
			if status != nil && !hasRoom(status) {
				return core.Refuse("status", "its size is not sizeof(licensed_status)")
			}
			next, err := core.NextEvent(g, int64(timeoutMS))
			if err != nil {
				return err
			}
			if status != nil {
				show(status, &next.Status)
			}
			if *event = newEvent(next); *event == nil {
				return &core.Failure{Code: core.ErrMemory, Detail: "there is not enough memory"}
			}
			return nil
		})
	})
}

//export capiExplain
func capiExplain(guard C.licensed_guard, to **C.char, e **C.licensed_error) C.licensed_code {
	return texts(guard, to, nil, e, func(g *client.Guard) (string, error) { return g.Explain().String(), nil })
}

//export capiFile
func capiFile(guard C.licensed_guard, to **C.char, length *C.size_t, e **C.licensed_error) C.licensed_code {
	return texts(guard, to, length, e, core.File)
}

//export capiRequest
func capiRequest(guard C.licensed_guard, op C.int32_t, code, from *C.char, to **C.char, length *C.size_t, e **C.licensed_error) C.licensed_code {
	return texts(guard, to, length, e, func(g *client.Guard) (string, error) {
		c, f, err := wish(code, from)
		if err != nil {
			return "", err
		}
		return core.Request(g, int32(op), c, f)
	})
}

// wish reads what an activation or a request asks for.
func wish(code, from *C.char) (c, f string, err error) {
	if c, err = text("code", code); err != nil {
		return "", "", err
	}
	f, err = text("from", from)
	return c, f, err
}

//export capiImport
func capiImport(guard C.licensed_guard, data unsafe.Pointer, length C.size_t, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		return core.With(uint64(guard), func(g *client.Guard) error {
			file, err := fileOf(data, length)
			if err != nil {
				return err
			}
			return g.Import(file)
		})
	})
}

//export capiActivate
func capiActivate(guard C.licensed_guard, code *C.char, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		return core.With(uint64(guard), func(g *client.Guard) error {
			c, err := text("code", code)
			if err != nil {
				return err
			}
			return core.Activate(g, c)
		})
	})
}

//export capiRefresh
func capiRefresh(guard C.licensed_guard, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error { return core.With(uint64(guard), core.Refresh) })
}

//export capiRefreshStatus
func capiRefreshStatus(guard C.licensed_guard, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error { return core.With(uint64(guard), core.RefreshStatus) })
}

//export capiTransfer
func capiTransfer(guard C.licensed_guard, code, from *C.char, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		return core.With(uint64(guard), func(g *client.Guard) error {
			c, f, err := wish(code, from)
			if err != nil {
				return err
			}
			return core.Transfer(g, c, f)
		})
	})
}

//export capiDeactivate
func capiDeactivate(guard C.licensed_guard, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error { return core.With(uint64(guard), core.Deactivate) })
}
