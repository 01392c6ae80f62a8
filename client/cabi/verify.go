//go:build cgo

package main

/*
#include "licensed.h"
*/
import "C"

import (
	"unsafe"

	"github.com/seed-357fa782/licensed/client/cabi/internal/core"
)

//export capiVerify
func capiVerify(options *C.licensed_options, data unsafe.Pointer, length C.size_t, license *C.licensed_license, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		if err := wanted("license", license); err != nil {
			return err
		}
		o, err := optionsOf(options)
		if err != nil {
			return err
		}
		file, err := fileOf(data, length)
		if err != nil {
			return err
		}
		handle, err := core.Verify(o, file)
		*license = C.licensed_license(handle)
		return err
	})
}

//export capiLicenseCheck
func capiLicenseCheck(license C.licensed_license, now C.int64_t, status *C.licensed_status) C.licensed_code {
	return quick(func() core.Code {
		s, code := core.StatusAt(uint64(license), int64(now))
		if code != core.OK {
			return code
		}
		return show(status, &s)
	})
}

//export capiLicenseFeature
func capiLicenseFeature(license C.licensed_license, now C.int64_t, name *C.char, on *C.int32_t) C.licensed_code {
	return quick(func() core.Code {
		s, code := core.StatusAt(uint64(license), int64(now))
		return feature(&s, code, name, on)
	})
}

//export capiLicenseFeatureNumber
func capiLicenseFeatureNumber(license C.licensed_license, now C.int64_t, name *C.char, number *C.double) C.licensed_code {
	return quick(func() core.Code {
		s, code := core.StatusAt(uint64(license), int64(now))
		return featureNumber(&s, code, name, number)
	})
}

//export capiLicenseFeatureText
func capiLicenseFeatureText(license C.licensed_license, now C.int64_t, name *C.char, to **C.char, length *C.size_t, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		s, code := core.StatusAt(uint64(license), int64(now))
		return featureText(&s, code, name, to, length)
	})
}

//export capiLicenseJSON
func capiLicenseJSON(license C.licensed_license, now C.int64_t, to **C.char, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		if err := wanted("text", to); err != nil {
			return err
		}
		s, err := core.LicenseJSON(uint64(license), int64(now))
		if err != nil {
			return err
		}
		return give(to, nil, s)
	})
}

//export capiLicenseExplain
func capiLicenseExplain(license C.licensed_license, matches *C.int32_t, to **C.char, e **C.licensed_error) C.licensed_code {
	return answer(e, func() error {
		if err := wanted("matches", matches); err != nil {
			return err
		}
		x, err := core.ExplainLicense(uint64(license))
		if err != nil {
			return err
		}
		if to != nil {
			if err := give(to, nil, x.String()); err != nil {
				return err
			}
		}
		*matches = truth(x.OK)
		return nil
	})
}
