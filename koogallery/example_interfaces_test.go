package koogallery_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Online provisioning: the merchant makes the instance and the licence. A
// purchase, an application for a device, and the delivery of its licence.
func ExampleHandler_onlineProvisioning() {
	key := koogallery.NewAccessKey("from the seller console")
	var applications []koogallery.GetLicenseAsync // in a real server a table
	handler := &koogallery.Handler{
		Verifier:   &koogallery.Verifier{Keys: []koogallery.AccessKey{key}},
		Activities: append(koogallery.InstanceActivities(), koogallery.ActivityOrderNotify),
		Answer: func(_ context.Context, _ koogallery.Callback, msg koogallery.Message) (koogallery.Result, error) {
			switch m := msg.(type) {
			case koogallery.NewInstance:
				return koogallery.Result{Code: koogallery.ResultOK, InstanceID: "instance-" + m.OrderLineID}, nil
			case koogallery.GetLicenseAsync:
				if m.DeviceFingerprint.IsZero() {
					return koogallery.Result{}, &koogallery.ResultError{Code: koogallery.ResultDeviceRequired}
				}
				applications = append(applications, m)
				return koogallery.Result{Code: koogallery.ResultInProgress}, nil
			case koogallery.RefreshInstance, koogallery.UpdateInstanceStatus, koogallery.ReleaseInstance, koogallery.OrderNotify:
				return koogallery.Result{Code: koogallery.ResultOK}, nil
			default:
				return koogallery.Result{}, errors.New("not handled")
			}
		},
	}
	for _, body := range []string{
		`{"activity":"newInstance","orderId":"CS1","orderLineId":"CS1-000001","businessId":"b1"}`,
		`{"activity":"getLicenseAsync","instanceId":"instance-CS1-000001","eventId":"e1","effectiveTime":"2026-01-01 00:00:00 z","deviceFingerprint":"MAC|DISK||CPU"}`,
		`{"activity":"getLicenseAsync","instanceId":"instance-CS1-000001","eventId":"e2","effectiveTime":"2026-01-01 00:00:00 z"}`,
	} {
		query := koogallery.SignedQuery(key, rand.Text(), time.Now(), []byte(body))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?"+query.Encode(), strings.NewReader(body)))
		fmt.Println(w.Body)
	}

	// Later, in the background, with retries while Retryable says so.
	client := exampleClient(`{"error_code":"CBC.0000","error_msg":"Success"}`)
	for _, a := range applications {
		fmt.Println("deliver:", client.Upload(context.Background(), a.EventID, koogallery.Upload{License: []byte("licence for that device")}))
	}
	// Output:
	// {"resultCode":"000000","resultMsg":"success.","instanceId":"instance-CS1-000001"}
	// {"resultCode":"000004","resultMsg":"request is processing"}
	// {"resultCode":"000903","resultMsg":"deviceFingerprint is required"}
	// deliver: <nil>
}

// Licence 1.0 behind the same address: its calls are GET requests.
func ExampleV1Handler() {
	key := koogallery.NewAccessKey("from the seller console")
	mux := http.NewServeMux()
	mux.Handle("POST /marketplace", &koogallery.Handler{
		Verifier: &koogallery.Verifier{Keys: []koogallery.AccessKey{key}},
		Handle:   func(context.Context, koogallery.Callback, koogallery.Message) error { return nil },
	})
	mux.Handle("GET /marketplace", &koogallery.V1Handler{
		Verifier: &koogallery.V1Verifier{Keys: []koogallery.AccessKey{key}},
		Answer: func(_ context.Context, _ koogallery.V1Call, msg koogallery.Message) (koogallery.Result, error) {
			m, ok := msg.(koogallery.V1GetLicense)
			if !ok {
				return koogallery.Result{Code: koogallery.ResultOK}, nil
			}
			phone, err := m.MobilePhone.Decrypt(key, koogallery.EncryptAES256)
			fmt.Println("phone:", phone, err) // prints "[redacted]"; Reveal has the number
			return koogallery.Result{
				Code: koogallery.ResultOK, InstanceID: m.BusinessID, License: koogallery.NewLicenseText("AAAA-BBBB"),
			}, nil
		},
	})

	phone, err := koogallery.NewPersonalData("18600000000").Encrypt(key, koogallery.EncryptAES256)
	if err != nil {
		fmt.Println(err)
		return
	}
	query := url.Values{
		"activity": {"getLicense"}, "customerId": {"c1"}, "businessId": {"b1"}, "orderId": {"CS1"}, "productId": {"OFFI1"},
		"mobilePhone": {phone}, "timeStamp": {time.Now().UTC().Format("20060102150405") + "000"},
	}
	query.Set("authToken", koogallery.V1AuthToken(key, query))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/marketplace?"+query.Encode(), nil))
	fmt.Println(w.Body)
	fmt.Println("signed:", w.Header().Get("Body-Sign") == koogallery.BodySign(key, w.Body.Bytes()))
	// Output:
	// phone: [redacted] <nil>
	// {"resultCode":"000000","resultMsg":"success.","license":"AAAA-BBBB","instanceId":"b1"}
	// signed: true
}

// The daily comparison with what the marketplace believes, at no more than ten
// calls a second.
func ExampleClient_QueryAll() {
	client := exampleClient(`{"error_code":"92020000","data":[
		{"license_code":"PL1","status":"ALIVE","expire_time":"20270101000000"},
		{"license_code":"PL2","status":"RELEASED"}]}`)
	codes := []koogallery.Code{koogallery.NewCode("PL1"), koogallery.NewCode("PL2")}
	for r := range client.QueryAll(context.Background(), slices.Values(codes), koogallery.Pace(100*time.Millisecond)) {
		if r.Err != nil {
			fmt.Println(r.Code, r.Err) // a code prints as "[redacted]"
			continue
		}
		fmt.Println(r.Info.Status, r.Info.ExpireTime)
	}
	// Output:
	// ALIVE 2027-01-01 00:00:00 +0000 UTC
	// RELEASED 0001-01-01 00:00:00 +0000 UTC
}

// Which clients used a code today.
func ExampleClient_ReportUsage() {
	client := exampleClient(`{"error_code":"92020000","error_msg":"success","data":{"check_fail_list":["PL2"]}}`)
	result, err := client.ReportUsage(context.Background(), []koogallery.Usage{
		{License: koogallery.NewCode("PL1"), IDs: []string{"account1", "account2"}},
		{License: koogallery.NewCode("PL2"), ActiveNum: 25},
	})
	fmt.Println(len(result.Rejected), result.Rejected[0].Reveal(), result.Unread, err)
	// Output: 1 PL2 false <nil>
}

// exampleClient stands for a client of the real API.
func exampleClient(answer string) *koogallery.Client {
	opts := koogallery.ClientOptions{AccessKeyID: "AK", SecretAccessKey: koogallery.NewSecretKey("SK")}
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return reply(200, jsonMedia, answer) })
	client, err := koogallery.NewClient(opts)
	if err != nil {
		panic(err)
	}
	return client
}
