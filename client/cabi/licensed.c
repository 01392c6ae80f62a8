//go:build cgo

/*
 * The functions of licensed.h, each of which calls its counterpart in Go. That licensed.h is included
 * makes the compiler compare the two.
 */
#include "licensed.h"
#include "_cgo_export.h"

#ifndef _WIN32
#include <pthread.h>

/*
 * The threads of the Go runtime do not come along into a child process, so a call would wait there for
 * ever. It is told instead.
 */
static volatile int forked;

static void in_child(void) { forked = 1; }

__attribute__((constructor)) static void watch_forks(void) { (void)pthread_atfork(NULL, NULL, in_child); }

#else
enum { forked = 0 }; /* there is no such thing */
#endif

#define NOT_IN_A_CHILD                  \
	do {                                \
		if (forked)                     \
			return LICENSED_ERR_FORKED; \
	} while (0)

/* Results are written on success only, and errors are set by every call that can have one. */
#define CLEAR(result)      \
	do {                   \
		if (result)        \
			*(result) = 0; \
	} while (0)

uint32_t licensed_abi_version(void) { return (uint32_t)LICENSED_ABI_MAJOR << 16 | LICENSED_ABI_MINOR; }

const char *licensed_version(void) { return forked ? "" : capiVersion(); }

void licensed_free(void *block) { free(block); }

licensed_code licensed_close(uint64_t handle)
{
	NOT_IN_A_CHILD;
	return capiClose(handle);
}

licensed_code licensed_open(const licensed_options *options, licensed_guard *guard, licensed_error **error)
{
	CLEAR(guard);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiOpen((licensed_options *)options, guard, error);
}

licensed_code licensed_check(licensed_guard guard, licensed_status *status)
{
	NOT_IN_A_CHILD;
	return capiCheck(guard, status);
}

licensed_code licensed_feature(licensed_guard guard, const char *name, int32_t *on)
{
	CLEAR(on);
	NOT_IN_A_CHILD;
	return capiFeature(guard, (char *)name, on);
}

licensed_code licensed_feature_number(licensed_guard guard, const char *name, double *number)
{
	CLEAR(number);
	NOT_IN_A_CHILD;
	return capiFeatureNumber(guard, (char *)name, number);
}

licensed_code licensed_feature_text(licensed_guard guard, const char *name, char **text, size_t *length, licensed_error **error)
{
	CLEAR(text);
	CLEAR(length);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiFeatureText(guard, (char *)name, text, length, error);
}

licensed_code licensed_status_json(licensed_guard guard, char **text, licensed_error **error)
{
	CLEAR(text);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiStatusJSON(guard, text, error);
}

licensed_code licensed_next_event(licensed_guard guard, int64_t timeout_ms, licensed_event **event,
	licensed_status *status, licensed_error **error)
{
	CLEAR(event);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiNextEvent(guard, timeout_ms, event, status, error);
}

licensed_code licensed_explain(licensed_guard guard, char **text, licensed_error **error)
{
	CLEAR(text);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiExplain(guard, text, error);
}

licensed_code licensed_file(licensed_guard guard, char **file, size_t *length, licensed_error **error)
{
	CLEAR(file);
	CLEAR(length);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiFile(guard, file, length, error);
}

licensed_code licensed_request(licensed_guard guard, int32_t op, const char *code, const char *from,
	char **file, size_t *length, licensed_error **error)
{
	CLEAR(file);
	CLEAR(length);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiRequest(guard, op, (char *)code, (char *)from, file, length, error);
}

licensed_code licensed_import(licensed_guard guard, const void *file, size_t length, licensed_error **error)
{
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiImport(guard, (void *)file, length, error);
}

licensed_code licensed_activate(licensed_guard guard, const char *code, licensed_error **error)
{
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiActivate(guard, (char *)code, error);
}

licensed_code licensed_refresh(licensed_guard guard, licensed_error **error)
{
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiRefresh(guard, error);
}

licensed_code licensed_refresh_status(licensed_guard guard, licensed_error **error)
{
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiRefreshStatus(guard, error);
}

licensed_code licensed_transfer(licensed_guard guard, const char *code, const char *from, licensed_error **error)
{
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiTransfer(guard, (char *)code, (char *)from, error);
}

licensed_code licensed_deactivate(licensed_guard guard, licensed_error **error)
{
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiDeactivate(guard, error);
}

licensed_code licensed_verify(const licensed_options *options, const void *file, size_t length,
	licensed_license *license, licensed_error **error)
{
	CLEAR(license);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiVerify((licensed_options *)options, (void *)file, length, license, error);
}

licensed_code licensed_license_check(licensed_license license, int64_t now, licensed_status *status)
{
	NOT_IN_A_CHILD;
	return capiLicenseCheck(license, now, status);
}

licensed_code licensed_license_feature(licensed_license license, int64_t now, const char *name, int32_t *on)
{
	CLEAR(on);
	NOT_IN_A_CHILD;
	return capiLicenseFeature(license, now, (char *)name, on);
}

licensed_code licensed_license_feature_number(licensed_license license, int64_t now, const char *name, double *number)
{
	CLEAR(number);
	NOT_IN_A_CHILD;
	return capiLicenseFeatureNumber(license, now, (char *)name, number);
}

licensed_code licensed_license_feature_text(licensed_license license, int64_t now, const char *name,
	char **text, size_t *length, licensed_error **error)
{
	CLEAR(text);
	CLEAR(length);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiLicenseFeatureText(license, now, (char *)name, text, length, error);
}

licensed_code licensed_license_json(licensed_license license, int64_t now, char **text, licensed_error **error)
{
	CLEAR(text);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiLicenseJSON(license, now, text, error);
}

licensed_code licensed_license_explain(licensed_license license, int32_t *matches, char **text, licensed_error **error)
{
	CLEAR(matches);
	CLEAR(text);
	CLEAR(error);
	NOT_IN_A_CHILD;
	return capiLicenseExplain(license, matches, text, error);
}

/* A switch, so that the numbers of licensed.h have their names here; a test compares them with those in Go. */
const char *licensed_code_name(licensed_code code)
{
	switch (code) {
	case LICENSED_OK: return "ok";
	case LICENSED_ERR_ARGUMENT: return "argument";
	case LICENSED_ERR_HANDLE: return "handle";
	case LICENSED_ERR_CLOSED: return "closed";
	case LICENSED_ERR_MEMORY: return "memory";
	case LICENSED_ERR_FORKED: return "forked";
	case LICENSED_ERR_FAULT: return "fault";
	case LICENSED_ERR_NO_VALUE: return "no_value";
	case LICENSED_ERR_OTHER: return "other";
	case LICENSED_ERR_TIMEOUT: return "timeout";
	case LICENSED_ERR_BAD_REQUEST: return "bad_request";
	case LICENSED_ERR_UNKNOWN_CODE: return "unknown_code";
	case LICENSED_ERR_UNKNOWN_LICENSE: return "unknown_license";
	case LICENSED_ERR_WRONG_PRODUCT: return "wrong_product";
	case LICENSED_ERR_MACHINE_LIMIT: return "machine_limit";
	case LICENSED_ERR_MACHINE_MISMATCH: return "machine_mismatch";
	case LICENSED_ERR_MACHINE_WEAK: return "machine_weak";
	case LICENSED_ERR_SUSPENDED: return "suspended";
	case LICENSED_ERR_EXPIRED: return "expired";
	case LICENSED_ERR_RELEASED: return "released";
	case LICENSED_ERR_REVOKED: return "revoked";
	case LICENSED_ERR_NOT_RECEIVED: return "not_received";
	case LICENSED_ERR_REPLACED: return "replaced";
	case LICENSED_ERR_CLONE_DETECTED: return "clone_detected";
	case LICENSED_ERR_TRANSFER_LIMIT: return "transfer_limit";
	case LICENSED_ERR_TRIAL_USED: return "trial_used";
	case LICENSED_ERR_REPLAYED: return "replayed";
	case LICENSED_ERR_CLOCK: return "clock";
	case LICENSED_ERR_RATE_LIMITED: return "rate_limited";
	case LICENSED_ERR_UNAUTHORIZED: return "unauthorized";
	case LICENSED_ERR_FORBIDDEN: return "forbidden";
	case LICENSED_ERR_NOT_FOUND: return "not_found";
	case LICENSED_ERR_CONFLICT: return "conflict";
	case LICENSED_ERR_MARKETPLACE_UNAVAILABLE: return "marketplace_unavailable";
	case LICENSED_ERR_READ_ONLY: return "read_only";
	case LICENSED_ERR_INTERNAL: return "internal";
	case LICENSED_ERR_FORGED: return "forged";
	case LICENSED_ERR_DAMAGED: return "damaged";
	case LICENSED_ERR_NOT_YET_VALID: return "not_yet_valid";
	case LICENSED_ERR_LEASE_OVER: return "lease_over";
	case LICENSED_ERR_OLDER: return "older";
	case LICENSED_ERR_UNREACHABLE: return "unreachable";
	case LICENSED_ERR_NO_LICENSE: return "no_license";
	}
	return "unknown";
}
