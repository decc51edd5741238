//! Introductions, member lists, claims and heartbeats.

use alloc::vec::Vec;

use super::{
    super::{Claim, EmptySeat, Heartbeat, Hello, Member, View},
    MessageError,
    fields::{Input, put_count, put_string},
};
use crate::{Fitness, Incarnation, MemberNumber, NodeId, Numbers, Start, limits::LINEAGE_MAX};

pub(super) fn put_hello(out: &mut Vec<u8>, hello: &Hello) {
    put_string(out, &hello.cluster);
    put_member(out, &hello.member);
    out.extend_from_slice(&hello.shard.to_le_bytes());
    put_view(out, &hello.view);
    put_count(out, hello.lineage.len());
    hello.lineage.iter().for_each(|start| out.extend_from_slice(&start.get().to_le_bytes()));
}

pub(super) fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.extend_from_slice(&member.id.0.to_le_bytes());
    let Member { name, datacentre, rack, peer_address, client_address, cluster_address, .. } =
        member;
    for text in [name, datacentre, rack, peer_address, client_address, cluster_address] {
        put_string(out, text);
    }
    put_incarnation(out, member.incarnation);
}

pub(super) fn put_incarnation(
    out: &mut Vec<u8>,
    Incarnation { life, start, previous }: Incarnation,
) {
    out.extend_from_slice(&life.to_le_bytes());
    out.extend_from_slice(&start.get().to_le_bytes());
    out.extend_from_slice(&previous.get().to_le_bytes());
}

pub(super) fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    out.extend_from_slice(&claim.seat.0.to_le_bytes());
    put_incarnation(out, claim.incarnation);
    put_count(out, claim.empty.len());
    for EmptySeat { seat, life, newcomer } in &claim.empty {
        out.extend_from_slice(&seat.0.to_le_bytes());
        out.extend_from_slice(&life.to_le_bytes());
        out.extend_from_slice(&newcomer.0.to_le_bytes());
    }
}

pub(super) fn put_view(out: &mut Vec<u8>, view: &View) {
    out.extend_from_slice(&view.epoch.to_le_bytes());
    out.push(u8::from(view.sealed));
    out.extend_from_slice(&view.replication_factor.to_le_bytes());
    put_count(out, view.members.len());
    view.members.iter().for_each(|member| put_member(out, member));
    out.extend_from_slice(&view.numbers.given().to_le_bytes());
    put_count(out, view.numbers.iter().len());
    for (id, number) in view.numbers.iter() {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&number.0.to_le_bytes());
    }
}

pub(super) fn put_heartbeat(out: &mut Vec<u8>, beat: &Heartbeat) {
    out.extend_from_slice(&beat.epoch.to_le_bytes());
    out.push(beat.fitness.bits());
    out.extend_from_slice(&beat.hints_pending.to_le_bytes());
    out.extend_from_slice(&beat.wall_ms.to_le_bytes());
}

impl Input {
    fn fitness(&mut self) -> Result<Fitness, MessageError> {
        let [bits] = self.array()?;
        Fitness::from_bits(bits).ok_or(self.field("fitness"))
    }

    pub(super) fn hello(&mut self) -> Result<Hello, MessageError> {
        Ok(Hello {
            cluster: self.string()?,
            member: self.member()?,
            shard: self.u16()?,
            view: self.view()?,
            lineage: self.lineage()?,
        })
    }

    pub(super) fn lineage(&mut self) -> Result<Vec<Start>, MessageError> {
        let lineage = self.list(Self::start)?;
        if lineage.len() > LINEAGE_MAX {
            return Err(self.field("lineage"));
        }
        Ok(lineage)
    }

    pub(super) fn member(&mut self) -> Result<Member, MessageError> {
        Ok(Member {
            id: NodeId(u128::from_le_bytes(self.array()?)),
            name: self.string()?,
            datacentre: self.string()?,
            rack: self.string()?,
            peer_address: self.string()?,
            client_address: self.string()?,
            cluster_address: self.string()?,
            incarnation: self.incarnation()?,
        })
    }

    pub(super) fn incarnation(&mut self) -> Result<Incarnation, MessageError> {
        Ok(Incarnation { life: self.u16()?, start: self.start()?, previous: self.start()? })
    }

    pub(super) fn start(&mut self) -> Result<Start, MessageError> {
        let name = u32::from_le_bytes(self.array()?);
        let start = Start::from_random(name);
        if start.get() == name { Ok(start) } else { Err(self.field("start")) }
    }

    pub(super) fn claim(&mut self) -> Result<Claim, MessageError> {
        Ok(Claim {
            seat: NodeId(u128::from_le_bytes(self.array()?)),
            incarnation: self.incarnation()?,
            empty: self.list(Self::empty_seat)?,
        })
    }

    pub(super) fn empty_seat(&mut self) -> Result<EmptySeat, MessageError> {
        Ok(EmptySeat {
            seat: NodeId(u128::from_le_bytes(self.array()?)),
            life: self.u16()?,
            newcomer: NodeId(u128::from_le_bytes(self.array()?)),
        })
    }

    pub(super) fn view(&mut self) -> Result<View, MessageError> {
        Ok(View {
            epoch: u64::from_le_bytes(self.array()?),
            sealed: self.boolean()?,
            replication_factor: self.u16()?,
            members: self.list(Self::member)?,
            numbers: self.numbers()?,
        })
    }

    pub(super) fn numbers(&mut self) -> Result<Numbers, MessageError> {
        let given = self.u16()?;
        let members = self.list(Self::number)?;
        Numbers::from_parts(given, members).ok_or_else(|| self.field("numbers"))
    }

    pub(super) fn number(&mut self) -> Result<(NodeId, MemberNumber), MessageError> {
        let id = NodeId(u128::from_le_bytes(self.array()?));
        Ok((id, MemberNumber(self.u16()?)))
    }

    pub(super) fn heartbeat(&mut self) -> Result<Heartbeat, MessageError> {
        Ok(Heartbeat {
            epoch: u64::from_le_bytes(self.array()?),
            fitness: self.fitness()?,
            hints_pending: u64::from_le_bytes(self.array()?),
            wall_ms: u64::from_le_bytes(self.array()?),
        })
    }
}
