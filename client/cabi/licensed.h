/*
 * licensed.h - the licence client as a C library.
 *
 * The library verifies the merchant's licences offline and keeps the licence of one install: what
 * package client does for programs in Go. docs/c-library.md says how to build and link it.
 *
 * Memory. All memory that the library hands out (texts, files, errors) is one block each, belongs to
 * the caller and is given back by licensed_free. What the caller hands in is read during the call and
 * not kept. Results are written on success only; before that they are set to 0 or NULL. A pointer
 * for a result must not be NULL unless its function says so.
 *
 * Errors. Functions return LICENSED_OK or another code. Those with a last argument `error` put a block
 * with the details there on failure, and NULL otherwise; give NULL to do without. Whatever the arguments
 * are, no call ends the process, except that memory which is not there cannot be read or written.
 *
 * Handles are numbers, not addresses. One that is unknown, or was closed, is LICENSED_ERR_HANDLE.
 *
 * Threads. Every function may be called from any thread at any time, and with the same handle from
 * several. Calls that change an install take turns. licensed_close ends what is under way.
 *
 * Fork. The library cannot be used in a child process that was forked after it was loaded, unless the
 * child runs another program (exec): calls return LICENSED_ERR_FORKED there. Load it after forking.
 *
 * Texts are UTF-8 and end with NUL; NULL stands for "" unless something else is said. Instants are
 * seconds since 1970-01-01T00:00:00Z, LICENSED_FOREVER where there is no end, 0 where none is known.
 */
#ifndef LICENSED_H
#define LICENSED_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(LICENSED_BUILD)
#define LICENSED_API __declspec(dllexport)
#elif defined(_WIN32)
#define LICENSED_API __declspec(dllimport)
#elif defined(__GNUC__)
#define LICENSED_API __attribute__((visibility("default")))
#else
#define LICENSED_API
#endif

/*
 * The version of this interface. Another major version is another interface; a higher minor version has
 * functions, codes and members at the end of structs that a lower one lacks. What has a number keeps it.
 */
#define LICENSED_ABI_MAJOR 1
#define LICENSED_ABI_MINOR 0

#define LICENSED_FOREVER INT64_C(253402300799)

/* licensed_guard is an install of the product, licensed_license a licence that was verified. 0 is neither. */
typedef uint64_t licensed_guard;
typedef uint64_t licensed_license;

/* licensed_code is one of the codes below. A newer library may return others. */
typedef int32_t licensed_code;

enum {
	LICENSED_OK = 0,

	/* What only this library answers. */
	LICENSED_ERR_ARGUMENT = 1, /* an argument is NULL, too long, no UTF-8 or no value that is known */
	LICENSED_ERR_HANDLE = 2,   /* the handle is unknown, of the other kind, or was closed */
	LICENSED_ERR_CLOSED = 3,   /* the handle was closed while the call was under way */
	LICENSED_ERR_MEMORY = 4,   /* there is no memory for the result */
	LICENSED_ERR_FORKED = 5,   /* this process was forked after the library was loaded */
	LICENSED_ERR_FAULT = 6,    /* a defect of the library, which caught it; please report the error's log */
	LICENSED_ERR_NO_VALUE = 7, /* the feature is not there now, or its value is not of this kind */
	LICENSED_ERR_OTHER = 8,    /* the server gave a reason that this library does not know; licensed_error.reason has it */
	LICENSED_ERR_TIMEOUT = 9,  /* nothing has happened for as long as was to be waited */

	/* The reasons of the licence server's protocol. */
	LICENSED_ERR_BAD_REQUEST = 100, /* an input is wrong; licensed_error.field names it */
	LICENSED_ERR_UNKNOWN_CODE = 101,
	LICENSED_ERR_UNKNOWN_LICENSE = 102,
	LICENSED_ERR_WRONG_PRODUCT = 103,
	LICENSED_ERR_MACHINE_LIMIT = 104,
	LICENSED_ERR_MACHINE_MISMATCH = 105,
	LICENSED_ERR_MACHINE_WEAK = 106,
	LICENSED_ERR_SUSPENDED = 107,
	LICENSED_ERR_EXPIRED = 108,
	LICENSED_ERR_RELEASED = 109,
	LICENSED_ERR_REVOKED = 110,
	LICENSED_ERR_NOT_RECEIVED = 111,
	LICENSED_ERR_REPLACED = 112,
	LICENSED_ERR_CLONE_DETECTED = 113,
	LICENSED_ERR_TRANSFER_LIMIT = 114,
	LICENSED_ERR_TRIAL_USED = 115,
	LICENSED_ERR_REPLAYED = 116,
	LICENSED_ERR_CLOCK = 117,
	LICENSED_ERR_RATE_LIMITED = 118,
	LICENSED_ERR_UNAUTHORIZED = 119,
	LICENSED_ERR_FORBIDDEN = 120,
	LICENSED_ERR_NOT_FOUND = 121,
	LICENSED_ERR_CONFLICT = 122,
	LICENSED_ERR_MARKETPLACE_UNAVAILABLE = 123,
	LICENSED_ERR_READ_ONLY = 124,
	LICENSED_ERR_INTERNAL = 125,

	/* Reasons that arise on this machine only. */
	LICENSED_ERR_FORGED = 200,        /* a signature, a key or an issuer is not right */
	LICENSED_ERR_DAMAGED = 201,       /* a file is not what it should be, or not whole */
	LICENSED_ERR_NOT_YET_VALID = 202, /* the licence begins later */
	LICENSED_ERR_LEASE_OVER = 203,    /* this install has not called home for longer than its lease */
	LICENSED_ERR_OLDER = 204,         /* something newer of the same kind was seen already */
	LICENSED_ERR_UNREACHABLE = 205,   /* the licence server did not answer, or not as one */
	LICENSED_ERR_NO_LICENSE = 206     /* this install holds no licence */
};

/* Where an instant stands against the dates of a licence. */
enum {
	LICENSED_PHASE_VALID = 1,
	LICENSED_PHASE_WARNING = 2, /* it ends soon */
	LICENSED_PHASE_GRACE = 3,   /* it has expired, or the server must be reached; usable for a while yet */
	LICENSED_PHASE_BLOCKED = 4
};

/* The state of a licence as far as this machine knows; 0 where there is none. */
enum {
	LICENSED_STATE_NONE = 0,
	LICENSED_STATE_ACTIVE = 1,
	LICENSED_STATE_EXPIRED = 2,
	LICENSED_STATE_SUSPENDED = 3,
	LICENSED_STATE_REVOKED = 4
};

/* What the phase "blocked" means; 0 where there is no licence. */
enum {
	LICENSED_ENFORCE_BLOCK = 1,   /* the product must not run */
	LICENSED_ENFORCE_DEGRADE = 2, /* it runs without its features */
	LICENSED_ENFORCE_ADVISORY = 3 /* it is only reported */
};

/* What is known of the machine's clock; 0 where the caller gave the instant. */
enum {
	LICENSED_CLOCK_OK = 1,
	LICENSED_CLOCK_BEHIND = 2,     /* it shows a time that has passed; judged by what is proven */
	LICENSED_CLOCK_AHEAD = 3,      /* the server proved that it shows too much; judged without that */
	LICENSED_CLOCK_UNCONFIRMED = 4 /* it shows a time long after all that is proven; judged by it */
};

/* What a request file asks for. */
enum {
	LICENSED_OP_ACTIVATE = 1,
	LICENSED_OP_REFRESH = 2,
	LICENSED_OP_TRANSFER = 3,
	LICENSED_OP_DEACTIVATE = 4
};

/* licensed_error says what went wrong. Its texts are never NULL and are gone with it. */
typedef struct licensed_error {
	size_t size;         /* of this struct, in the library */
	licensed_code code;  /* what the function returned */
	int32_t reserved;
	int64_t retry_after; /* seconds after which trying again makes sense, 0 if it does not or is not known */
	const char *reason;  /* the code's name, such as machine_limit */
	const char *detail;  /* in plain words, for the person in front of the machine */
	const char *field;   /* the input that was wrong, or "" */
	const char *log;     /* all of it with its causes in one line, for the product's log */
} licensed_error;

/* What an event is about. A newer library may tell of others. */
enum {
	LICENSED_EVENT_EXPIRING = 1, /* the licence ends soon */
	LICENSED_EVENT_GRACE = 2,    /* it has ended, or the server was not heard for most of the lease: usable for a while yet */
	LICENSED_EVENT_BLOCKED = 3,  /* it is blocked from now on, or for another reason than before */
	LICENSED_EVENT_REVOKED = 4,  /* it is blocked for good: the merchant has ended it, and signed that */
	LICENSED_EVENT_RESTORED = 5, /* it stands better than what was told last */
	LICENSED_EVENT_LICENSE = 6,  /* another licence is held, or the same one with other features, limits or dates */
	LICENSED_EVENT_CLOCK = 7,    /* the clock of the machine is wrong; where code is LICENSED_OK, it is right again */
	LICENSED_EVENT_MACHINE = 8,  /* something that the licence was bound to is not the same here; licensed_explain says what */
	LICENSED_EVENT_TROUBLE = 9,  /* calling home fails, or the install's memory cannot be used */
	LICENSED_EVENT_REACHED = 10  /* the trouble told last is over */
};

/* licensed_event tells what has changed. Its texts are never NULL and are gone with it. */
typedef struct licensed_event {
	size_t size;        /* of this struct, in the library */
	int32_t kind;       /* LICENSED_EVENT_... */
	int32_t missed;     /* how many events before this one were dropped, since nobody took them */
	int64_t at;         /* the instant that was judged by */
	licensed_code code; /* why, where it is blocked, revoked, trouble or the clock; LICENSED_OK otherwise */
	int32_t reserved;
	const char *reason; /* the code's name, "" for LICENSED_OK */
	const char *text;   /* what has happened and what to do, in a sentence for people */
	const char *log;    /* the causes in one line, for the product's log, or "" */
} licensed_event;

/* Bits of licensed_options.flags. */
enum {
	LICENSED_ALLOW_PLAIN = 1, /* plain http to a server beyond this machine */
	LICENSED_IN_MEMORY = 2,   /* nothing is kept: for products that bring a licence file at each start */
	LICENSED_MANUAL = 4,      /* nothing happens in the background: no calls home, no events */
	LICENSED_KEEP_SEAT = 8    /* licensed_close does not give a floating seat back */
};

/*
 * licensed_options say how an install is set up. Begin with all members 0 (= {0}) and set size to
 * sizeof(licensed_options). anchors and product are required.
 */
typedef struct licensed_options {
	size_t size;
	const char *anchors;   /* the output of "licensectl keys anchors -o json", compiled in */
	const char *product;   /* id of the product that licences must be for */
	const char *issuer;    /* who must have issued them; NULL leaves that to the anchors */
	const char *keys;      /* a signed key set compiled in, the least that counts; NULL for none */
	const char *server;    /* such as https://licence.example.com; NULL: no network, only files */
	const char *state_dir; /* folder of the install's memory; NULL: licensed-client below the working folder */
	const char *code;      /* authorization code to activate with by itself where there is no licence; NULL for none */
	const char *instance;  /* name of this copy among those that share floating seats; NULL for none */
	const char *ca_file;   /* file of certificate authorities (PEM) that count beside the system's; NULL for none */
	int64_t timeout_ms;    /* limits one call to the server; 0: 30000 */
	int64_t build_time;    /* when the product was built, an instant that has passed; 0: not known */
	uint32_t flags;
	uint32_t reserved;     /* 0 */
} licensed_options;

/* licensed_status is where a licence stands. Set size to sizeof(licensed_status) before the call. */
typedef struct licensed_status {
	size_t size;
	int32_t usable;       /* 1 where the product may run: the one to ask. 0 otherwise */
	int32_t phase;        /* LICENSED_PHASE_... */
	licensed_code reason; /* why the phase is blocked; 0 where it is not */
	int32_t state;        /* LICENSED_STATE_... */
	int32_t enforcement;  /* LICENSED_ENFORCE_... */
	int32_t clock;        /* LICENSED_CLOCK_... */
	int32_t refresh_due;  /* 1 where it is time to call home */
	int32_t reserved;
	int64_t at; /* the instant that was judged by */
	int64_t not_before;
	int64_t warn_at;
	int64_t expires_at;
	int64_t block_at;
	int64_t refresh_after; /* when to call home next */
	int64_t lease_until;   /* until when this install may go on without */
	int64_t listed_at;     /* when the status list was signed that was judged by */
} licensed_status;

/* ------------------------------------------------------------------ the library */

/*
 * licensed_abi_version returns major << 16 | minor of the library. A program works with every library of
 * its own major version and at least its own minor version.
 */
LICENSED_API uint32_t licensed_abi_version(void);

/* licensed_version returns the release of the library, such as "v1.4.0". The text is the library's: it is not given back. */
LICENSED_API const char *licensed_version(void);

/* licensed_code_name returns the name of a code, such as "machine_limit", and "unknown" of any other number. The text is the library's. */
LICENSED_API const char *licensed_code_name(licensed_code code);

/* licensed_free gives back what a function of this library has handed out. NULL is ignored. */
LICENSED_API void licensed_free(void *block);

/*
 * licensed_close ends a guard or a licence. For a guard it ends what is under way in other threads, whose calls
 * return LICENSED_ERR_CLOSED, and waits for that; a floating seat is given back, for which it waits five seconds at
 * most. Handles are never used again.
 */
LICENSED_API licensed_code licensed_close(uint64_t handle);

/* ------------------------------------------------------------------ one install */

/*
 * licensed_open opens the install: it reads what was kept, verifies it, looks at the machine, and needs
 * no network. From then on the guard calls home in the background when that is due, and tells what changes by
 * licensed_next_event. Where nothing was kept yet, it has no licence and nothing is written. A memory that a newer
 * version wrote, or another product, is LICENSED_ERR_CONFLICT, one that cannot be read LICENSED_ERR_READ_ONLY.
 */
LICENSED_API licensed_code licensed_open(const licensed_options *options, licensed_guard *guard, licensed_error **error);

/* licensed_check says where the install stands now. It asks no network and allocates nothing. */
LICENSED_API licensed_code licensed_check(licensed_guard guard, licensed_status *status);

/* licensed_feature says whether a feature is there now (1) or not (0), whatever its value. It allocates nothing. */
LICENSED_API licensed_code licensed_feature(licensed_guard guard, const char *name, int32_t *on);

/* licensed_feature_number returns the number that a feature is now, or LICENSED_ERR_NO_VALUE. It allocates nothing. */
LICENSED_API licensed_code licensed_feature_number(licensed_guard guard, const char *name, double *number);

/* licensed_feature_text returns the text that a feature is now, or LICENSED_ERR_NO_VALUE. length, in bytes without the NUL, may be NULL. */
LICENSED_API licensed_code licensed_feature_text(licensed_guard guard, const char *name, char **text, size_t *length, licensed_error **error);

/*
 * licensed_status_json returns all that is known of the install as a JSON object: what licensed_status has, by the same
 * names, with words where that has numbers; "text" is a sentence for people, "features" an object, "license" what
 * the licence says of itself, "warnings" what was found wrong on the way and did not stop anything.
 */
LICENSED_API licensed_code licensed_status_json(licensed_guard guard, char **text, licensed_error **error);

/*
 * licensed_next_event waits until something has changed, for timeout_ms at most: 0 only looks, and a negative number
 * waits without end. It returns LICENSED_ERR_TIMEOUT where nothing has, and LICENSED_ERR_CLOSED where the guard is closed meanwhile or has no
 * events. Each event is told once, to one caller; the 32 last ones wait. Right after licensed_open there are events for what
 * is wrong, and none where all is in order. status is where the install stands by the event; it may be NULL.
 */
LICENSED_API licensed_code licensed_next_event(licensed_guard guard, int64_t timeout_ms, licensed_event **event,
	licensed_status *status, licensed_error **error);

/* licensed_explain says in lines of text, for a support desk, why this machine is, or is not, the one that the licence was made for. */
LICENSED_API licensed_code licensed_explain(licensed_guard guard, char **text, licensed_error **error);

/* licensed_file returns what is held as a licence file, or LICENSED_ERR_NO_LICENSE. length may be NULL. */
LICENSED_API licensed_code licensed_file(licensed_guard guard, char **file, size_t *length, licensed_error **error);

/* ------------------------------------------------------------------ without a network */

/*
 * licensed_request returns a request file, to be carried to the licence server; licensed_import takes the answer. Asked
 * again for the same, it returns the same bytes until they were answered. op is a LICENSED_OP_...; code is the
 * authorization code, for activate and transfer, from the install whose seat is to be freed, for transfer; both may be NULL.
 * A request to deactivate gives the licence up at once: the file is the receipt. length may be NULL.
 */
LICENSED_API licensed_code licensed_request(licensed_guard guard, int32_t op, const char *code, const char *from,
	char **file, size_t *length, licensed_error **error);

/*
 * licensed_import takes a licence file: the answer to a request, or one that the merchant made for this machine. On
 * success it is stored for good; otherwise what was held is held still.
 */
LICENSED_API licensed_code licensed_import(licensed_guard guard, const void *file, size_t length, licensed_error **error);

/* ------------------------------------------------------------------ with a network; each waits for the server */

/* licensed_activate asks the server for a licence by an authorization code. An answer that was lost costs nothing: call again. */
LICENSED_API licensed_code licensed_activate(licensed_guard guard, const char *code, licensed_error **error);

/* licensed_refresh calls home: it brings the licence up to date and extends the lease. */
LICENSED_API licensed_code licensed_refresh(licensed_guard guard, licensed_error **error);

/* licensed_refresh_status fetches the status list that the licence names: what was revoked. */
LICENSED_API licensed_code licensed_refresh_status(licensed_guard guard, licensed_error **error);

/* licensed_transfer activates here and frees the seat of another install: from, or NULL for the one that the merchant's policy chooses. */
LICENSED_API licensed_code licensed_transfer(licensed_guard guard, const char *code, const char *from, licensed_error **error);

/* licensed_deactivate gives the licence up and frees its seat. */
LICENSED_API licensed_code licensed_deactivate(licensed_guard guard, licensed_error **error);

/* ------------------------------------------------------------------ verifying alone */

/*
 * licensed_verify says whether a licence file is authentic and for this product, and keeps nothing. It judges
 * no clock and no machine: licensed_license_check and licensed_license_explain do. Of the options only anchors, product,
 * issuer and keys count.
 */
LICENSED_API licensed_code licensed_verify(const licensed_options *options, const void *file, size_t length,
	licensed_license *license, licensed_error **error);

/* licensed_license_check says where the licence stands at an instant. */
LICENSED_API licensed_code licensed_license_check(licensed_license license, int64_t now, licensed_status *status);

/* The value of a feature at an instant; as for a guard. */
LICENSED_API licensed_code licensed_license_feature(licensed_license license, int64_t now, const char *name, int32_t *on);
LICENSED_API licensed_code licensed_license_feature_number(licensed_license license, int64_t now, const char *name, double *number);
LICENSED_API licensed_code licensed_license_feature_text(licensed_license license, int64_t now, const char *name,
	char **text, size_t *length, licensed_error **error);

/* licensed_license_json is licensed_status_json of a licence at an instant, without "warnings". */
LICENSED_API licensed_code licensed_license_json(licensed_license license, int64_t now, char **text, licensed_error **error);

/*
 * licensed_license_explain looks at this machine and says whether the licence was made for it (matches: 1 or 0), and why. One that was
 * not must be refused, whatever licensed_license_check says. text may be NULL.
 */
LICENSED_API licensed_code licensed_license_explain(licensed_license license, int32_t *matches, char **text, licensed_error **error);

#ifdef __cplusplus
}
#endif

#endif
