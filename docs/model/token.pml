/*
 * The protocol by which a fleet shares one access token, for spin. README.md beside it says how to run it, what the names mean
 * in the code, and what is left out.
 *
 * Three replicas serve requests with one token. Each step of a replica is one script of Redis or one step in memory. Between
 * any two of them the others and the world may act.
 *
 * Switches: OLD_REFUSE and OLD_FLOOR are faults that the code had; NO_FENCE, NO_OWNER, NO_LOOK and NO_COMPARE take one part out
 * of the protocol. Each must be found wrong.
 */

#ifndef REPLICAS /* 3, or 2 of them */
#define REPLICAS 3
#endif
#define N 3

/* How often the world misbehaves, in one run. */
#ifndef REVOKES
#define REVOKES 2
#endif
#ifndef LEASES /* that run out while their holder fetches: it pauses */
#define LEASES 1
#endif
#ifndef FAILOVERS /* of Redis */
#define FAILOVERS 1
#endif
#ifndef ERRORS /* of calls of Redis: not made, or made and the reply lost */
#define ERRORS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef REFRESHES /* flights that no request has asked for */
#define REFRESHES 1
#endif
#ifndef MOST /* fetches that these may cause at most */
#define MOST 15
#endif

#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* The issuer. A token is the number of its fetch. It is good while its epoch is the issuer's. */
byte epoch = 1, fetches = 0;
byte epoch_of[MOST + 1];
bool stale = false; /* nobody has been served since the last revocation */

/* Redis. Generations are drawn above clock. */
byte clock = 4;
byte entry_gen = 0, entry = 0; /* the token; 0 with a generation: its tombstone */
byte fence = 0;
byte lock = 0; /* replica + 1; N + 1: one that has crashed */
byte note = 0; /* refused generation */

/* What Redis's successor has of it. */
byte copy_gen = 0, copy_entry = 0, copy_fence = 0, copy_lock = 0, copy_note = 0;

/* A replica's memory. */
typedef Memory {
  byte gen, token, after; /* token 0: none */
  byte floor, seen, refused;
  /* For the assertions alone. */
  bool flying;   /* in a flight; what else lies in the lock in its name has no holder */
  bool leased;   /* has the lock, by all that it may know */
  bool fetching; /* the issuer is being asked */
  bool usable;   /* since it took the lock, a token that it could use is in Redis */
  byte rejected; /* the last fetch that had begun when the request was rejected */
  short known;   /* tokens that were rejected here, one bit each */
};
Memory mem[N];

byte revokes = REVOKES, leases = LEASES, failovers = FAILOVERS, errors = ERRORS, crashes = CRASHES, refreshes = REFRESHES;

#define USABLE(i) (entry != 0 && entry_gen > mem[i].floor && entry_gen > mem[i].gen)

/* learn: what a look in Redis tells. */
inline learn(i) {
  mem[i].seen = MAX(mem[i].seen, MAX(entry_gen, note));
  if
  :: note != 0 && note >= mem[i].refused -> mem[i].refused = note
  :: else
  fi
}

/* take: the token of Redis, in hand. */
inline take() { gen = entry_gen; token = entry; after = 0 }

inline nothing_usable() { mem[0].usable = false; mem[1].usable = false; mem[2].usable = false }

/* put: what the entry becomes. It never goes back but in a failover. */
inline put(g, t) {
  assert(g >= entry_gen);
  entry_gen = g;
  entry = t;
  if
  :: t == 0 -> nothing_usable()
  :: else
  fi
}

/* unlock: only what one owns. */
inline unlock(i) {
#ifdef NO_OWNER
  lock = 0;
#else
  if
  :: lock == i + 1 -> lock = 0
  :: else
  fi;
#endif
  mem[i].leased = false
}

/* fetch: the issuer issues a token. It is on its way until the next step. */
inline fetch(i) {
  assert(fetches < MOST);
  fetches++;
  token = fetches; gen = g; after = mem[i].floor;
  epoch_of[token] = epoch;
  mem[i].fetching = true
}

proctype Replica(byte i) {
  byte gen, token, after; /* the token in hand */
  byte before;            /* the generation that this request was rejected with; 0: none */
  byte sent;
  byte g;       /* the generation that was drawn */
  bool request; /* a request waits for the flight */

idle:
  atomic {
    gen = 0; token = 0; after = 0; before = 0; sent = 0; g = 0; request = false;
    mem[i].flying = false; mem[i].usable = false; mem[i].rejected = 0
  }
  if
  :: atomic { request = true; goto lookup }
  :: atomic { refreshes > 0 && mem[i].token != 0 -> refreshes--; mem[i].flying = true; goto look }
  :: atomic { crashes > 0 && mem[i].seen != 0 -> crashes--; goto crash }
  fi;

lookup:
  atomic {
    if
    :: mem[i].token != 0 -> gen = mem[i].gen; token = mem[i].token; after = mem[i].after; goto send
    :: else -> mem[i].flying = true
    fi
  }

/* ---- the flight ---- */
look:
  atomic {
    if
    :: errors > 0 -> errors--; goto alone
    :: learn(i);
       if
       :: USABLE(i) -> take(); goto land
       :: !USABLE(i) && lock != 0 && lock != i + 1 -> goto poll
       :: else
       fi
    fi
  }
  atomic { /* lock */
    if
    :: lock != 0 && lock != i + 1 -> goto poll
    :: else ->
       if
       :: errors > 0 -> errors--; goto alone /* not made */
       :: lock = i + 1;
#ifdef OLD_FLOOR
          g = MAX(fence + 1, clock);
#else
          g = MAX(MAX(fence, mem[i].seen) + 1, clock);
#endif
          fence = g;
          mem[i].usable = USABLE(i);
          if
          :: errors > 0 -> errors--; goto alone /* the reply is lost */
          :: mem[i].leased = true
          fi
       fi
    fi
  }
  atomic {
    if
    :: crashes > 0 -> crashes--; goto crash
    :: skip
    fi;
#ifndef NO_LOOK
    learn(i); /* again */
    if
    :: USABLE(i) -> take(); unlock(i); goto land
    :: else
    fi;
#endif
    assert(!mem[i].usable); /* who could take it doesn't fetch */
    assert(!mem[i].leased || !((i != 0 && mem[0].fetching && mem[0].leased) || (i != 1 && mem[1].fetching && mem[1].leased) ||
                               (i != 2 && mem[2].fetching && mem[2].leased)));
    fetch(i)
  }
  atomic { /* save */
    mem[i].fetching = false;
    if
    :: crashes > 0 -> crashes--; goto crash
    :: errors > 0 -> errors--; mem[i].leased = false; goto land /* not made: the lease runs out */
    :: skip
    fi;
#ifdef NO_FENCE
    put(gen, token); unlock(i); goto land;
#else
    if
    :: entry_gen < gen || (entry_gen == gen && entry != 0) -> put(gen, token); unlock(i); goto land
    :: else -> unlock(i); learn(i) /* fenced off: look */
    fi;
#endif
    if
    :: USABLE(i) -> take(); goto land
    :: !USABLE(i) && entry_gen >= gen -> gen = 0; token = 0; after = 0; goto look
    :: else -> goto land
    fi
  }

poll: /* until there is something to take, or nobody holds the lock */
  atomic { (USABLE(i) || lock == 0 || lock == i + 1) -> goto look }

alone: /* for this replica, without Redis */
  atomic { g = MAX(clock, mem[i].seen + 1); fetch(i) }
  atomic { mem[i].fetching = false; unlock(i) } /* gives back what it may have got */

land:
  atomic {
#ifndef OLD_FLOOR
    assert(gen > mem[i].floor && gen > mem[i].gen); /* no older generation replaces a newer one */
#endif
    mem[i].gen = gen; mem[i].token = token; mem[i].after = after;
    mem[i].seen = MAX(mem[i].seen, gen);
    mem[i].flying = false; mem[i].usable = false; g = 0;
    if
    :: request -> goto send
    :: else -> goto idle
    fi
  }

/* ---- the request ---- */
send:
  atomic {
    sent++;
    /* A token known as rejected isn't sent again, except while it is refused. */
    assert((mem[i].known & (1 << token)) == 0 || mem[i].refused == gen);
    if
    :: epoch_of[token] == epoch -> stale = false; goto idle
    :: else -> mem[i].known = mem[i].known | (1 << token)
    fi
  }

  atomic { /* Reject */
    if
    :: mem[i].refused == gen -> goto idle /* 502 */
#ifdef OLD_REFUSE
    :: mem[i].refused != gen && before != 0 ->
#else
    :: mem[i].refused != gen && before != 0 && after >= before ->
#endif
       assert(token > mem[i].rejected); /* its fetch began after a rejection */
       mem[i].refused = gen
    :: else -> goto remove
    fi
  }
  atomic { note = gen; goto idle }

remove:
  atomic {
    if
    :: mem[i].floor >= gen -> goto removed /* done already */
    :: mem[i].floor < gen && errors > 0 -> errors-- /* Redis isn't told */
    :: mem[i].floor < gen && note == gen -> mem[i].refused = gen; goto idle
    :: mem[i].floor < gen && note != gen ->
#ifdef NO_COMPARE
       put(gen, 0)
#else
       if
       :: entry_gen <= gen -> put(gen, 0)
       :: else
       fi
#endif
    fi
  }
  atomic {
    mem[i].floor = MAX(mem[i].floor, gen); mem[i].seen = MAX(mem[i].seen, gen);
    if
    :: mem[i].gen <= gen -> mem[i].gen = 0; mem[i].token = 0; mem[i].after = 0
    :: else
    fi;
removed:
    before = gen; mem[i].rejected = fetches; gen = 0; token = 0; after = 0;
    if
    :: sent < 3 -> goto lookup
    :: else -> goto idle /* 502 */
    fi
  }

crash: /* and start again, empty */
  atomic {
    if
    :: lock == i + 1 -> lock = N + 1
    :: else
    fi;
    mem[i].gen = 0; mem[i].token = 0; mem[i].after = 0; mem[i].floor = 0; mem[i].seen = 0; mem[i].refused = 0;
    mem[i].leased = false; mem[i].fetching = false; mem[i].usable = false; mem[i].known = 0;
    goto idle
  }
}

/* The world, as far as it need not do anything. */
proctype World() {
  do
  :: atomic { revokes > 0 && fetches > 0 -> revokes--; epoch++; stale = true }
  :: atomic { leases > 0 && lock > 0 && lock <= N -> leases--; mem[lock - 1].leased = false; lock = 0 }
  :: atomic { failovers > 0 && fetches > 0 ->
       copy_gen = entry_gen; copy_entry = entry; copy_fence = fence; copy_lock = lock; copy_note = note; goto replicated }
  :: atomic { failovers > 0 && fetches > 0 -> goto replicated } /* nothing */
  od;
replicated: /* what is written from here on is lost */
  do
  :: atomic { revokes > 0 -> revokes--; epoch++; stale = true }
  :: atomic { leases > 0 && lock > 0 && lock <= N -> leases--; mem[lock - 1].leased = false; lock = 0 }
  :: atomic { failovers > 0 -> failovers--;
       entry_gen = copy_gen; entry = copy_entry; fence = copy_fence; lock = copy_lock; note = copy_note;
       copy_gen = 0; copy_entry = 0; copy_fence = 0; copy_lock = 0; copy_note = 0;
       mem[0].leased = false; mem[1].leased = false; mem[2].leased = false; nothing_usable();
       if
       :: clock = 1
       :: skip
       fi }
  od
}

/* Time, which passes: locks that nobody holds and refusals end. */
#define DEAD (lock == N + 1 || (lock > 0 && lock <= N && !mem[lock - 1].flying))
proctype Leases() { do :: atomic { DEAD -> lock = 0 } od }
/* A refused token stays in use. When its refusal ends, it is as good as any: who is rejected with it drops it. */
inline pardon(i) {
  mem[i].refused != 0 ->
  if
  :: mem[i].gen == mem[i].refused -> mem[i].known = mem[i].known & ~(1 << mem[i].token)
  :: else
  fi;
  mem[i].refused = 0
}
proctype Notes() { do :: atomic { note != 0 -> note = 0 } od }
proctype Refusals() {
  do
  :: atomic { pardon(0) }
  :: atomic { pardon(1) }
  :: atomic { pardon(2) }
  od
}

init {
  atomic {
    run Replica(0); run Replica(1);
    if
    :: REPLICAS == 3 -> run Replica(2)
    :: else
    fi;
    run World(); run Leases(); run Notes(); run Refusals()
  }
}

/* After a revocation some fresh token is used again. */
ltl fresh { [] (stale -> <> !stale) }
